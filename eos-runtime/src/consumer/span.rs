//! The span that a handler runs in, by the names of OpenTelemetry's conventions, in the trace that the record brought along.
//!
//! Its target is `eos::record` and its level `info`. It costs a microsecond where a subscriber wants it, and nothing where
//! none does. Source of the names: <https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>.

use tracing::Span;
use tracing::field::Empty;

use super::failure::Failure;
use super::work::Work;
use crate::extract::Delivery;
use crate::store::Reason;
use crate::trace;

/// Of one record, or of a batch that begins with it.
pub(super) fn of(work: &Work, deliveries: &[Delivery<'_>]) -> Span {
    let [first, more @ ..] = deliveries else { return Span::none() };
    let record = first.record();
    let span = tracing::info_span!(
        target: "eos::record", "process",
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
        error.type = Empty,
        messaging.system = Empty,
        messaging.operation.name = Empty,
        messaging.operation.type = Empty,
        messaging.destination.name = record.topic(),
        messaging.destination.partition.id = %record.partition(),
        messaging.consumer.group.name = &*work.group,
        messaging.kafka.offset = record.offset(),
        messaging.kafka.message.key = Empty,
        messaging.kafka.message.tombstone = Empty,
        messaging.message.id = Empty,
        messaging.batch.message_count = Empty,
        eos.listener = &*work.id,
        eos.attempt = first.attempt(),
    );
    if span.is_disabled() {
        return span;
    }
    if cfg!(feature = "otel") {
        name(&span, record.topic());
    }
    if more.is_empty() {
        of_record(work, first, &span);
        trace::continue_from(&span, record);
    } else {
        span.record("messaging.batch.message_count", deliveries.len());
        deliveries.iter().for_each(|delivery| trace::link_to(&span, delivery.record()));
    }
    span
}

/// What is the same for all of them, and would only be in the way in a log of text.
fn name(span: &Span, topic: &str) {
    span.record("otel.name", tracing::field::display(format_args!("process {topic}")));
    span.record("otel.kind", "consumer");
    span.record("messaging.system", "kafka");
    span.record("messaging.operation.name", "process");
    span.record("messaging.operation.type", "process");
}

fn of_record(work: &Work, delivery: &Delivery<'_>, span: &Span) {
    let record = delivery.record();
    if let Some(key) = record.key() {
        span.record("messaging.kafka.message.key", tracing::field::display(work.log.key(Some(key))));
    }
    if record.payload().is_none() {
        span.record("messaging.kafka.message.tombstone", true);
    }
    if let Some(id) = delivery.message_id() {
        span.record("messaging.message.id", tracing::field::display(String::from_utf8_lossy(id)));
    }
}

/// The handler came to its end like this.
pub(super) fn ended(span: &Span, outcome: &Result<(), Failure>) {
    if let Err(failure) = outcome
        && !span.is_disabled()
    {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", kind(failure));
    }
}

/// A word for it, of which there are few.
fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::Overran(_) => Reason::Overran.word(),
        Failure::Panicked(_) => Reason::Panicked.word(),
        Failure::Handler(_)
        | Failure::Commit(_)
        | Failure::Strayed(_)
        | Failure::Begin(_)
        | Failure::Killed { .. } => Reason::Failed.word(),
    }
}
