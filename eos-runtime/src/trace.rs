//! The trace that the current task works for, as a `traceparent` that other programs understand.
//!
//! With the feature `otel` it is that of the current `tracing` span, where an OpenTelemetry layer is set, and a record's
//! span goes on with the trace that the record brought along; without, eos only hands on what a record brought along.
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use bytes::Bytes;
use tracing::Span;

use crate::record::Record;

/// The header that carries it.
pub(crate) const HEADER: &str = "traceparent";
/// What vendors add to it.
#[cfg(feature = "otel")]
const STATE: &str = "tracestate";

/// `00-<trace>-<span>-<flags>`.
#[cfg(feature = "otel")]
pub(crate) fn current() -> Option<Bytes> {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let context = Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| {
        format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()).into()
    })
}

#[cfg(not(feature = "otel"))]
pub(crate) fn current() -> Option<Bytes> {
    None
}

/// Makes a span that nobody has entered yet a child of the one that wrote the record.
#[cfg(feature = "otel")]
pub(crate) fn continue_from(span: &Span, record: &Record) {
    use opentelemetry::Context;
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    if let Some(context) = of(record) {
        // It fails where no layer of OpenTelemetry is set.
        drop(span.set_parent(Context::new().with_remote_span_context(context)));
    }
}

/// Names the one that wrote the record as one of a batch's many.
#[cfg(feature = "otel")]
pub(crate) fn link_to(span: &Span, record: &Record) {
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    if let Some(context) = of(record) {
        span.add_link(context);
    }
}

#[cfg(not(feature = "otel"))]
pub(crate) fn continue_from(_span: &Span, _record: &Record) {}

#[cfg(not(feature = "otel"))]
pub(crate) fn link_to(_span: &Span, _record: &Record) {}

/// What a record brought along, where it is a trace.
#[cfg(feature = "otel")]
fn of(record: &Record) -> Option<opentelemetry::trace::SpanContext> {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

    let header = std::str::from_utf8(record.header(HEADER)?).ok()?;
    let mut parts = header.trim().split('-');
    let version = parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
    let trace = parts.next().filter(|id| id.len() == 32).and_then(|id| TraceId::from_hex(id).ok())?;
    let span = parts.next().filter(|id| id.len() == 16).and_then(|id| SpanId::from_hex(id).ok())?;
    let flags = parts.next().filter(|flags| flags.len() == 2)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1);
    // A later version may have more to say, this one has not.
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let state = record.header(STATE).and_then(|state| std::str::from_utf8(state).ok());
    let state = state.and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

#[cfg(all(test, feature = "otel"))]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_the_standard_has_it_and_anything_else_is_none() {
        let read = |header: &str| of(&Record::builder("t").header(HEADER, header).build());
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let context = read(&format!("00-{trace}-{span}-01")).expect("a trace");
        assert_eq!(
            (context.trace_id().to_string(), context.span_id().to_string()),
            (trace.into(), span.into())
        );
        assert!(context.is_sampled() && context.is_remote());
        assert!(read(&format!("cc-{trace}-{span}-00-more")).is_some_and(|context| !context.is_sampled()));
        for wrong in [
            "",
            "00",
            &format!("00-{trace}-{span}"),
            &format!("00-{trace}-{span}-01-more"),
            &format!("ff-{trace}-{span}-01"),
            &format!("00-{}-{span}-01", "0".repeat(32)),
            &format!("00-{trace}-{}-01", "0".repeat(16)),
            &format!("00-{}-{span}-01", "g".repeat(32)),
            &format!("00-{trace}0-{span}-01"),
        ] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
