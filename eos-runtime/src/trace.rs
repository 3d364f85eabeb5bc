//! The trace that the current task works for, as a `traceparent` that other programs understand.
//!
//! With the feature `otel` it is that of the current `tracing` span, where an OpenTelemetry layer is set; without, eos
//! only hands on what a record brought along. Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.

use bytes::Bytes;

/// `00-<trace>-<span>-<flags>`.
#[cfg(feature = "otel")]
pub(crate) fn current() -> Option<Bytes> {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let context = tracing::Span::current().context();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| {
        format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()).into()
    })
}

#[cfg(not(feature = "otel"))]
pub(crate) fn current() -> Option<Bytes> {
    None
}
