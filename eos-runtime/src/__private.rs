//! Every name that generated code may use, and no logic.

pub use inventory::submit;

pub use crate::error::HandlerError;
pub use crate::extract::{Delivery, FromRecord, Needs, RefFromRecord};
pub use crate::listener::outcome::{IntoOutcome, Reply};
pub use crate::listener::spec::{
    Body, Dedupe, HandlerFuture, Isolation, ListenerSpec, Mode, PlainHandler, TransactionParam,
    Transactional, TxHandler,
};
pub use std::time::Duration;
