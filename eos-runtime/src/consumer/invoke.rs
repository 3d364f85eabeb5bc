//! Running a handler, on one record or on a batch, so that nothing it does ends the process: panics and overruns become failures.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tracing::{Instrument, Span};

use super::failure::Failure;
use super::span;
use super::work::Work;
use crate::error::HandlerError;
use crate::extract::{Deliveries, Delivery};
use crate::listener::spec::Handler;
use crate::store::{Dialect, Open, Tx};

/// Runs a handler on records of its transaction: all of them at once where it takes a batch, otherwise the one there is.
/// The ids of a batch's events are made of its first record: the same as long as the batch is.
pub(super) async fn handle<D: Dialect>(
    work: &Work,
    handler: Handler<Tx<D>>,
    open: &mut Open<D>,
    deliveries: &[Delivery<'_>],
    allowance: Allowance,
) -> Result<(), Failure> {
    match (handler, deliveries) {
        (Handler::One(handler), [delivery]) => {
            let span = span::of(work, deliveries);
            invoke(handler(open.tx_to_handle(delivery.record()), delivery), allowance, span).await
        }
        (Handler::Batch(handler), [first, ..]) => {
            let span = span::of(work, deliveries);
            let deliveries = Deliveries(deliveries);
            invoke(handler(open.tx_to_handle(first.record()), &deliveries), allowance, span).await
        }
        (Handler::One(_) | Handler::Batch(_), _) => {
            unreachable!("there is a record, and no more than one where no batch is taken")
        }
    }
}

/// How long a handler may take, and since when. Looking at the clock costs as much as much else that is done for a record, so
/// it is done once for all who want to know when a handler began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) since: Instant,
    pub(super) at_most: Duration,
}

impl Allowance {
    pub(super) fn from_now(at_most: Duration) -> Self {
        Allowance { since: Instant::now(), at_most }
    }
}

/// Runs a handler's future in its span, to its end or to its deadline. One that is ready at its first poll costs no timer; one that
/// blocked its thread until it was too late has failed all the same.
pub(super) async fn invoke<F>(handler: F, allowance: Allowance, span: Span) -> Result<(), Failure>
where
    F: Future<Output = Result<(), HandlerError>> + Unpin,
{
    if span.is_disabled() {
        return run(handler, allowance).await;
    }
    let outcome = run(handler, allowance).instrument(span.clone()).await;
    span::ended(&span, &outcome);
    outcome
}

async fn run<F>(handler: F, allowance: Allowance) -> Result<(), Failure>
where
    F: Future<Output = Result<(), HandlerError>> + Unpin,
{
    let Allowance { since, at_most: deadline } = allowance;
    let mut handler = AssertUnwindSafe(handler).catch_unwind();
    let first = std::future::poll_fn(|context| Poll::Ready(handler.poll_unpin(context))).await;
    let outcome = match first {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            match tokio::time::timeout(deadline.saturating_sub(since.elapsed()), handler).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => return Err(Failure::Overran(deadline)),
            }
        }
    };
    match outcome {
        Ok(Ok(())) if since.elapsed() > deadline => Err(Failure::Overran(deadline)),
        Ok(result) => Ok(result?),
        Err(panic) => Err(Failure::Panicked(panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_and_an_overrun_names_the_deadline() {
        let panics = Box::pin(async { panic!("no such tenant") });
        let failure = invoke(panics, Allowance::from_now(Duration::from_secs(1)), Span::none())
            .await
            .expect_err("it panicked");
        assert!(failure.to_string().contains("no such tenant"));

        let sleeps = Box::pin(std::future::pending());
        let failure = invoke(sleeps, Allowance::from_now(Duration::from_millis(5)), Span::none())
            .await
            .expect_err("it never ends");
        assert!(failure.to_string().contains("5ms"), "{failure}");
    }
}
