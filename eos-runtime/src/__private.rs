//! Every name that generated code may use, and no logic.

pub use inventory::submit;

pub use crate::error::{BoxError, HandlerError};
pub use crate::event::{Event, EventValue, from_json, headers, to_json};
pub use crate::extract::event::{event, topic_of_the_event};
pub use crate::extract::{
    Deliveries, Delivery, FromBatch, FromRecord, FromRecordOptional, Needs, RefFromRecord, Rejection,
};
pub use crate::kafka_tx::OutputId;
pub use crate::listener::outcome::{IntoOutcome, Reply, send_returned};
pub use crate::listener::spec::{
    BatchHandler, Body, DeadLetters, Dedupe, ExactlyOnce, Handler, HandlerFuture, IdSource, Idempotent,
    Isolation, KafkaTxParam, ListenerSpec, Medium, Mode, OnFailure, OnOutage, PlainHandler, Retry,
    TransactionParam, Transactional, TxHandler,
};
pub use crate::outbox::method::{RetriedArgument, TxArgument, copy_for_a_try, returned};
pub use crate::outbox::scope::{
    Ended, FromTxError, OutboxReturn, Outcome, Scope, ScopeOptions, TxSource, TxType,
};
pub use crate::record::Headers;
pub use bytes::Bytes;
pub use std::time::Duration;
