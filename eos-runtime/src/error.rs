//! The errors that reach a user: [`Error`] ends the process, [`HandlerError`] ends an attempt.

use std::error::Error as StdError;
use std::fmt;

use crate::extract::Rejection;

/// Any error that can be boxed.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// What a listener returns.
pub type HandlerResult = Result<(), HandlerError>;

/// Why an attempt failed, and whether another can help.
///
/// `?` on an error means *again later*; [`HandlerError::fatal`] means *never again*. The error that was given stays
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
    /// Try it again later; its partition waits.
    Again,
    /// It can never succeed; its partition stops.
    Fatal,
}

impl HandlerError {
    /// Never again: no retry can help.
    pub fn fatal(why: impl Into<BoxError>) -> Self {
        HandlerError { error: why.into(), verdict: Some(Verdict::Fatal) }
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

    /// The error it was made of.
    pub fn inner(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Some(Verdict::Fatal) => "the handler failed for good",
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
