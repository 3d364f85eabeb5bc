//! For users' own tests: a record through a listener, without a broker.
//!
//! ```no_run
//! use eos_runtime::Record;
//! use eos_runtime::testing::{Delivered, deliver};
//!
//! # #[cfg(feature = "postgres")]
//! # async fn a_duplicate_leaves_no_trace(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! let record = Record::builder("event.order").payload(r#"{"n": 1}"#).header("message-id", "a").build();
//! assert_eq!(deliver(record.clone()).database(&pool).await?, Delivered::Applied);
//! assert_eq!(deliver(record).database(&pool).await?, Delivered::Duplicate);
//! # Ok(()) }
//! ```

use std::future::IntoFuture;
use std::pin::Pin;

use crate::app::{App, DatabasePool, app};
use crate::error::BoxError;
use crate::record::Record;

/// Brings a record through extraction, claim, handler and commit of the listener of its topic, against the user's
/// database. Awaiting it runs it.
///
/// The tables of eos are made where they are missing, so that it works in the fresh database that `#[sqlx::test]`
/// gives. A record that was built without an offset gets the next one of its partition; one at an offset that was
/// delivered before is a duplicate by position.
///
/// The listener is the one whose `topic` is the record's; [`Deliver::listener`] names it where there are several, or
/// where its topic has placeholders. It is delivered under a group of its own (`testing:` and the listener's group), so that
/// the positions of a service which uses the same database stay as they are.
#[must_use = "a delivery does nothing until it is awaited"]
pub fn deliver(record: Record) -> Deliver {
    Deliver { app: app(), record, listener: None }
}

/// A delivery that is being described; see [`deliver`].
#[derive(Debug)]
#[must_use = "a delivery does nothing until it is awaited"]
pub struct Deliver {
    app: App,
    record: Record,
    listener: Option<String>,
}

/// What became of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// The handler ran, and everything it wrote is committed.
    Applied,
    /// It was processed before: the handler did not run.
    Duplicate,
}

/// Why a record was not delivered; nothing of it is left in the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// There is no such listener, or several, or the set-up is wrong.
    #[error("the record could not be delivered")]
    Setup(#[source] BoxError),
    /// The handler or an extractor failed, or nothing could be committed.
    #[error("the attempt failed and was rolled back")]
    Failed(#[source] BoxError),
}

impl Deliver {
    /// The database of listeners that name none; see [`App::database`].
    pub fn database(mut self, pool: impl Into<DatabasePool>) -> Self {
        self.app = self.app.database(pool);
        self
    }

    /// The database of listeners that say `database = "name"`.
    pub fn database_named(mut self, name: impl Into<String>, pool: impl Into<DatabasePool>) -> Self {
        self.app = self.app.database_named(name, pool);
        self
    }

    /// A state; see [`App::state`].
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        self.app = self.app.state(state);
        self
    }

    /// The listener's id, where the topic alone does not name it.
    pub fn listener(mut self, id: impl Into<String>) -> Self {
        self.listener = Some(id.into());
        self
    }
}

impl IntoFuture for Deliver {
    type Output = Result<Delivered, DeliverError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.app.deliver(self.listener, self.record))
    }
}
