//! What a handler may return, and how it becomes one answer: done, again later, or never again.

use std::any::Any;
use std::error::Error as StdError;

use crate::error::{BoxError, HandlerError};
use crate::kafka_tx::{KafkaTx, Outputs};

/// What a handler's Ok may hold. Today `()`; events to publish will be further implementations.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "return `Result<(), E>`: a listener's Ok holds nothing"
)]
pub trait Reply: Send {
    /// Hands what was returned to the attempt.
    fn into_reply(self);
}

impl Reply for () {
    fn into_reply(self) {}
}

/// What a listener may return: a `Result` whose error can be boxed.
#[diagnostic::on_unimplemented(
    message = "a listener cannot return `{Self}`",
    label = "return `HandlerResult`, or `Result<(), E>` where `E: Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoOutcome {
    /// The one answer that the attempt understands.
    ///
    /// # Errors
    /// What the handler returned, boxed, its concrete type still to be found.
    fn into_outcome(self) -> Result<(), HandlerError>;
}

impl<T: Reply, E: Into<BoxError> + 'static> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Result<(), HandlerError> {
        match self {
            Ok(reply) => {
                reply.into_reply();
                Ok(())
            }
            Err(error) => Err(handler_error(error)),
        }
    }
}

/// Sends what an exactly-once listener returned, where its Ok holds anything.
///
/// # Errors
/// What the listener returned, or why it cannot be sent.
pub fn send_returned<T: Outputs, E: Into<BoxError> + 'static>(
    returned: Result<T, E>,
    out: &mut KafkaTx,
    to: Option<&'static str>,
) -> Result<(), HandlerError> {
    returned.map_err(handler_error)?.send(out, to)
}

/// Keeps the concrete error reachable: one that is already a [`HandlerError`] stays it, and `anyhow`'s is taken
/// out of its wrapper, which would hide it from `downcast_ref`.
fn handler_error<E: Into<BoxError> + 'static>(error: E) -> HandlerError {
    let mut slot = Some(error);
    let any: &mut dyn Any = &mut slot;
    if let Some(own) = any.downcast_mut::<Option<HandlerError>>().and_then(Option::take) {
        return own;
    }
    if let Some(error) = any.downcast_mut::<Option<anyhow::Error>>().and_then(Option::take) {
        return HandlerError::from(error);
    }
    match slot {
        Some(error) => HandlerError::again(error),
        None => unreachable!("both branches above return what they take"),
    }
}

/// Whether `error` or anything below it is an `E`.
pub(crate) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no such customer")]
    struct NoCustomer;

    #[test]
    fn an_error_inside_anyhow_is_still_seen() {
        let result: Result<(), anyhow::Error> = Err(anyhow::Error::new(NoCustomer).context("while placing"));
        let error = result.into_outcome().expect_err("it failed");
        assert!(find::<NoCustomer>(&error).is_some());
        assert!(!error.is_fatal());
    }

    #[test]
    fn a_fatal_error_stays_fatal() {
        let result: Result<(), HandlerError> = Err(HandlerError::fatal(NoCustomer));
        assert!(result.into_outcome().expect_err("it failed").is_fatal());
    }

    #[test]
    fn any_boxable_error_means_again() {
        let result: Result<(), String> = Err("not yet".to_owned());
        assert!(!result.into_outcome().expect_err("it failed").is_fatal());
    }
}
