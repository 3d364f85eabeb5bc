//! How a record becomes a handler's parameters, as in axum: each type says how it is taken out of the record.
//!
//! Implement [`FromRecord`] for your own types. An extractor sees the record and the application's states, no
//! broker and no connection; what it needs it says in [`needs`](FromRecord::needs), so that a missing state is a
//! start-up error and not the first record's.

mod batch;
mod data;
pub(crate) mod event;
mod meta;
mod state;

use std::any::{TypeId, type_name};
use std::error::Error as StdError;

pub use batch::{Batch, Deliveries, FromBatch};
pub use data::{Json, Key};
pub use meta::{MessageId, RecordMeta};
pub use state::State;
pub(crate) use state::States;

use crate::error::BoxError;
use crate::record::{Headers, Record};

/// One record on its way into a handler: what extractors see.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    pub(crate) record: &'a Record,
    pub(crate) attempt: u32,
    pub(crate) states: &'a States,
    pub(crate) id_headers: &'a [String],
}

impl<'a> Delivery<'a> {
    /// The record.
    pub fn record(&self) -> &'a Record {
        self.record
    }

    /// Which try this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A state given by `app().state(…)`.
    pub fn state<S: Send + Sync + 'static>(&self) -> Option<&'a S> {
        self.states.get::<S>()
    }

    /// The record's message id: the first present of the configured headers.
    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.id_headers.iter().find_map(|name| self.record.header(name))
    }
}

/// A parameter of a listener, taken out of the record by value.
///
/// ```
/// use eos_runtime::{Delivery, FromRecord, Rejection};
///
/// /// The tenant that a record belongs to, from its header.
/// struct Tenant(String);
///
/// impl FromRecord for Tenant {
///     fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
///         let bytes = delivery.record().header("tenant").ok_or_else(|| Rejection::poison("no header `tenant`"))?;
///         let text = std::str::from_utf8(bytes).map_err(Rejection::poison)?;
///         Ok(Tenant(text.to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken out of a record",
    label = "a listener's parameter is an event, `Json<T>`, `Key<T>`, `Headers`, `MessageId`, `RecordMeta`, `State<S>`, \
             `&Record`, an `Option` of one that can be absent, or `&mut` a transaction",
    note = "take a payload as `Json<T>`, or derive `Event` for its type; implement `eos_runtime::FromRecord` to take \
            something else out of a record"
)]
pub trait FromRecord: Sized + Send {
    /// The topic of a listener that takes this and says none: an [`Event`](crate::Event)'s own. A type that wraps
    /// another may hand on the other's.
    const DEFAULT_TOPIC: Option<&'static str> = None;

    /// What the application must have for this extractor to work.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }

    /// Takes it out of the record.
    ///
    /// # Errors
    /// A [`Rejection`] fails the attempt: [`Rejection::poison`] for a record that will never parse,
    /// [`Rejection::again`] where another try may help.
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection>;
}

/// A parameter that may be absent, so that `Option` of it can be taken: `None` is a tombstone, a record without
/// key, or one without an id; what is there but does not parse is still a [`Rejection`].
#[diagnostic::on_unimplemented(
    message = "`Option<{Self}>` cannot be taken out of a record",
    label = "`Option` is for what can be absent: an event, `Json<T>`, `Key<T>`, `MessageId`; take anything else without it",
    note = "implement `eos_runtime::FromRecordOptional` for a type of your own that can be absent"
)]
pub trait FromRecordOptional: FromRecord {
    /// Takes it out of the record, where it is there.
    ///
    /// # Errors
    /// As [`FromRecord::from_record`].
    fn from_record_optional(delivery: &Delivery<'_>) -> Result<Option<Self>, Rejection>;
}

impl<T: FromRecordOptional> FromRecord for Option<T> {
    const DEFAULT_TOPIC: Option<&'static str> = T::DEFAULT_TOPIC;

    fn needs(needs: &mut Needs) {
        T::needs(needs);
    }

    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        T::from_record_optional(delivery)
    }
}

impl FromRecord for Headers {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        Ok(delivery.record.headers())
    }
}

/// What a listener can take by shared reference.
#[diagnostic::on_unimplemented(
    message = "a listener cannot take `&{Self}`",
    label = "the one reference a listener takes is `&Record`; take everything else by value, a transaction by `&mut`"
)]
pub trait RefFromRecord {
    /// The reference.
    fn ref_from_record<'a>(delivery: &Delivery<'a>) -> &'a Self;
}

impl RefFromRecord for Record {
    fn ref_from_record<'a>(delivery: &Delivery<'a>) -> &'a Self {
        delivery.record
    }
}

/// Why a parameter could not be taken out of a record.
#[derive(Debug)]
pub struct Rejection {
    pub(crate) error: BoxError,
    pub(crate) fatal: bool,
}

impl Rejection {
    /// The record will never parse: it is poison, and trying again cannot help.
    pub fn poison(why: impl Into<BoxError>) -> Self {
        Rejection { error: why.into(), fatal: true }
    }

    /// Another try may help.
    pub fn again(why: impl Into<BoxError>) -> Self {
        Rejection { error: why.into(), fatal: false }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.error)
    }
}

impl StdError for Rejection {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// What a listener's extractors need from the application.
#[derive(Debug, Default)]
pub struct Needs {
    pub(crate) states: Vec<(TypeId, &'static str)>,
    pub(crate) databases: Vec<String>,
}

impl Needs {
    /// A state of this type, given by `app().state(…)`.
    pub fn state<S: Send + Sync + 'static>(&mut self) -> &mut Self {
        self.states.push((TypeId::of::<S>(), type_name::<S>()));
        self
    }

    /// A database of this name under `[databases]`.
    pub fn database(&mut self, name: impl Into<String>) -> &mut Self {
        self.databases.push(name.into());
        self
    }
}
