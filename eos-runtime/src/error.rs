//! The errors that reach a user: [`Error`] ends the process, [`HandlerError`] ends an attempt.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::extract::Rejection;
use crate::settings::Mistakes;

/// Any error that can be boxed.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What [`run`](crate::run) returns, and what a `main` that ends with it returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the process ends although nobody asked it to.
///
/// Each variant says whose turn it is. Its Debug is what `fn main() -> eos_runtime::Result<()>` prints: the sentence
/// and each of its causes, a line each.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> eos_runtime::Result<()> {
///     match eos_runtime::run().await {
///         Err(eos_runtime::Error::Setup(mistakes)) if mistakes.len() > 1 => {
///             eprintln!("{} things to mend", mistakes.len());
///             Err(eos_runtime::Error::Setup(mistakes))
///         }
///         other => other,
///     }
/// }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings or the set of listeners are wrong; nothing was started. A developer's or an operator's turn.
    #[error("{0}")]
    Setup(Mistakes),

    /// A database refuses us: a wrong password, user or name. An operator's turn.
    #[error("the database `{name}` refuses the connection; check {setting}")]
    #[non_exhaustive]
    Database {
        /// Its name: `default`, or the one under `[databases]`.
        name: String,
        /// The setting or the call that gives its address.
        setting: String,
        /// What it said.
        #[source]
        source: BoxError,
    },

    /// The tables of eos cannot be made, or are not what `migrate = "check"` expects. An operator's turn.
    #[error("the tables of eos in the database `{name}` are not ready")]
    #[non_exhaustive]
    Tables {
        /// The database's name.
        name: String,
        /// What is missing, or what the database said.
        #[source]
        source: BoxError,
    },

    /// Kafka refuses us for good: a wrong login, a fenced member, a client that cannot be made. An operator's turn.
    #[error("Kafka refuses the consumer of group `{group}`; check `[kafka]` of the settings")]
    #[non_exhaustive]
    Kafka {
        /// The consumer's group.
        group: String,
        /// What it said.
        #[source]
        source: BoxError,
    },

    /// The relay cannot make a producer, so that nothing would ever be published. An operator's turn.
    #[error("the relay cannot publish what is in the outbox; check `[outbox]` and `[kafka]` of the settings")]
    #[non_exhaustive]
    Relay {
        /// What is not accepted.
        #[source]
        source: BoxError,
    },

    /// The process stopped, but not in order: attempts were still running when the deadline was over. They were
    /// rolled back, and are done again by whoever takes their partitions. Nobody's turn, unless it is frequent.
    #[error(
        "attempts were still running after {}, the `[shutdown] deadline`; they are rolled back and done again elsewhere",
        humantime::format_duration(*deadline)
    )]
    #[non_exhaustive]
    StopTimedOut {
        /// The deadline that was over.
        deadline: Duration,
    },

    /// The process cannot listen for signals.
    #[error("the signals that stop the process cannot be listened for")]
    Signals(#[source] std::io::Error),

    /// The admin server cannot wait for connections. An operator's turn.
    #[error("the admin server cannot listen; check `[admin] listen`")]
    Admin(#[source] std::io::Error),

    /// A task of eos ended by a panic: a bug of ours, whose message is in the log.
    #[error("the {task} panicked, which is a bug in eos; please report it with the log")]
    #[non_exhaustive]
    Panicked {
        /// Which task.
        task: String,
    },
}

impl fmt::Debug for Error {
    /// A chain of sentences, for `main`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.to_string();
        f.write_str(&said)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            let sentence = error.to_string();
            // Some errors repeat their cause in their own words.
            if !said.ends_with(&sentence) {
                write!(f, "\n  because {sentence}")?;
            }
            said = sentence;
            cause = error.source();
        }
        Ok(())
    }
}

/// Why a transaction that a service began came to nothing, or may have.
///
/// An `#[outbox]` method's own error type implements `From<TxError>`, since these reach its caller too:
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// enum OrderError {
///     #[error("no such article")]
///     NoSuchArticle,
///     #[error(transparent)]
///     Database(#[from] sqlx::Error),
///     #[error(transparent)]
///     Transaction(#[from] eos_runtime::TxError),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// It could not begin: nothing happened.
    #[error("the transaction could not begin")]
    Begin(#[source] sqlx::Error),

    /// A transaction of another isolation level was joined.
    #[error(
        "it asks for `isolation = \"{wanted}\"` and joins a transaction {}; begin that one at this level, or pass a pool",
        .joined.map_or("whose level was not said".to_owned(), |level| format!("of level `{level}`"))
    )]
    #[non_exhaustive]
    Isolation {
        /// The level that `#[outbox(isolation = "…")]` names.
        wanted: &'static str,
        /// That of the transaction that it was called with, where it is known.
        joined: Option<&'static str>,
    },

    /// An event could not be made ready: its payload cannot be encoded, or its topic has a placeholder without a value.
    #[error("the event `{event}` cannot be published")]
    #[non_exhaustive]
    Event {
        /// The type of the event, or its topic where it has none.
        event: String,
        /// Why.
        #[source]
        source: BoxError,
    },

    /// The events could not be written to the outbox: nothing was committed.
    #[error(
        "the events could not be written to the table `eos_outbox`, and nothing was committed; `eos_runtime::migrate` \
         makes it where it is missing"
    )]
    Outbox(#[source] sqlx::Error),

    /// Nothing was committed.
    #[error("nothing was committed")]
    Commit(#[source] sqlx::Error),

    /// An `#[outbox]` method that had joined this transaction failed, so that only a part of the work could have been
    /// committed: nothing was.
    #[error(
        "nothing was committed: a method that had joined this transaction returned an error; return that error as well, \
         or call the method in a savepoint (`tx.begin()`) and roll that back"
    )]
    RollbackOnly,

    /// The answer to COMMIT was lost. Everything was committed, events included, or nothing.
    #[error("nobody knows whether the transaction was committed; look for what it wrote")]
    CommitUnknown(#[source] sqlx::Error),
}

/// What a listener returns.
pub type HandlerResult = Result<(), HandlerError>;

/// Why an attempt failed, and whether another can help.
///
/// `?` on an error means *again later*; [`HandlerError::fatal`] means *never again*; [`HandlerError::outage`] means *when
/// what I need is back*. The error that was given stays
/// reachable through [`source`](StdError::source), so that it can be looked for by type.
///
/// ```
/// use eos_runtime::{HandlerError, HandlerResult};
///
/// fn check(amount_cents: i64) -> HandlerResult {
///     if amount_cents < 0 {
///         return Err(HandlerError::fatal("a negative amount will not become positive"));
///     }
///     Ok(())
/// }
/// assert!(check(-1).unwrap_err().is_fatal());
/// ```
#[derive(Debug)]
pub struct HandlerError {
    error: BoxError,
    verdict: Option<Verdict>,
}

/// What happens to a record after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Try it again later, as often as the listener's `retry` says; its partition waits.
    Again,
    /// It can never succeed: it is set aside at once.
    Fatal,
    /// Something that the listener needs is down: it waits until that is back. No attempt is counted, and nothing is set
    /// aside, however long it lasts.
    Outage,
}

impl HandlerError {
    /// Never again: no retry can help.
    pub fn fatal(why: impl Into<BoxError>) -> Self {
        HandlerError { error: why.into(), verdict: Some(Verdict::Fatal) }
    }

    /// Again when what this needs is back: *your* dependency is down (a payment service that answers 503, a cache that
    /// refuses connections), and it is not the record's fault. The whole listener waits and looks again, at growing
    /// intervals; the attempt is not counted.
    pub fn outage(why: impl Into<BoxError>) -> Self {
        HandlerError { error: why.into(), verdict: Some(Verdict::Outage) }
    }

    /// Again later; what `?` does for the common error types. Unlike a verdict of the application's own
    /// `classify`, which can still overrule it.
    pub fn again(why: impl Into<BoxError>) -> Self {
        HandlerError { error: why.into(), verdict: None }
    }

    /// Whether it was made by [`HandlerError::fatal`] (or by an extractor's poison).
    pub fn is_fatal(&self) -> bool {
        self.verdict == Some(Verdict::Fatal)
    }

    /// What it was made to say, where it was.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// The error it was made of.
    pub fn inner(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Some(Verdict::Fatal) => "the handler failed for good",
            Some(Verdict::Outage) => "the handler met an outage",
            Some(Verdict::Again) | None => "the handler failed",
        })
    }
}

impl StdError for HandlerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.error)
    }
}

impl From<Rejection> for HandlerError {
    fn from(rejection: Rejection) -> Self {
        HandlerError { error: rejection.error, verdict: rejection.fatal.then_some(Verdict::Fatal) }
    }
}

impl From<anyhow::Error> for HandlerError {
    /// The concrete error stays reachable, a `HandlerError` inside keeps its verdict.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<HandlerError>() {
            Ok(own) => own,
            Err(error) => HandlerError::again(error.reallocate_into_boxed_dyn_error_without_backtrace()),
        }
    }
}

impl From<BoxError> for HandlerError {
    fn from(error: BoxError) -> Self {
        match error.downcast::<HandlerError>() {
            Ok(own) => *own,
            Err(error) => HandlerError::again(error),
        }
    }
}

/// The error types for which `?` works in a function that returns [`HandlerResult`]; implement
/// `From<YourError> for HandlerError` to add your own, and to say which of its cases are fatal.
macro_rules! again_later {
    ($($error:ty),* $(,)?) => { $(
        impl From<$error> for HandlerError {
            fn from(error: $error) -> Self {
                HandlerError::again(error)
            }
        }
    )* };
}

again_later!(
    sqlx::Error,
    TxError,
    serde_json::Error,
    uuid::Error,
    std::io::Error,
    std::fmt::Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    tokio::time::error::Elapsed,
    tokio::task::JoinError,
    String,
    &'static str,
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Found;

    #[test]
    fn an_error_from_main_reads_as_a_chain_of_sentences() {
        #[derive(Debug, thiserror::Error)]
        #[error("the server said: {0}")]
        struct Said(#[source] std::io::Error);

        let error = Error::Database {
            name: "default".to_owned(),
            setting: "`[database] url` (`EOS_DATABASE_URL`)".to_owned(),
            source: Box::new(Said(std::io::Error::other("no such user"))),
        };
        assert_eq!(
            format!("{error:?}"),
            "the database `default` refuses the connection; check `[database] url` (`EOS_DATABASE_URL`)\n  \
             because the server said: no such user"
        );
    }

    #[test]
    fn many_mistakes_are_a_list() {
        let found = Found::default();
        found.add("no group");
        found.add("no brokers");
        let error = Error::Setup(found.into_mistakes().expect_err("two"));
        assert_eq!(
            format!("Error: {error:?}"),
            "Error: nothing was started: there are 2 mistakes to mend\n  1. no group\n  2. no brokers"
        );
    }
}
