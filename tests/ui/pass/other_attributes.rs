//! Attributes of others, above and below ours.

use eos_runtime::prelude::*;

/// Documented.
#[deprecated = "listen to the new topic"]
#[kafka_listener(topic = "attributes.deprecated")]
pub(crate) async fn above(_: Headers) -> HandlerResult {
    Ok(())
}

/// Documented.
#[kafka_listener(topic = "attributes.deprecated.too")]
#[deprecated(note = "listen to the new topic")]
pub(crate) async fn below(_: Headers) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "attributes.instrumented")]
#[tracing::instrument(skip_all)]
async fn instrumented(_: Headers) -> HandlerResult {
    Ok(())
}

#[tracing::instrument(skip_all)]
#[kafka_listener(topic = "attributes.instrumented.above")]
async fn instrumented_above(_: Headers) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "attributes.cfg.on")]
#[cfg(not(any()))]
async fn here(_: Headers) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "attributes.cfg.off")]
#[cfg(any())]
async fn not_here(_: NoSuchType) -> HandlerResult {
    Ok(())
}

#[cfg(any())]
#[kafka_listener(topic = "attributes.cfg.off")]
async fn not_here_either(_: NoSuchType) -> HandlerResult {
    Ok(())
}

#[cfg_attr(all(), kafka_listener(topic = "attributes.cfg_attr"))]
#[cfg_attr(any(), deprecated)]
#[allow(dead_code, reason = "an attribute that does nothing here")]
pub(crate) async fn conditional(
    #[allow(unused_variables, reason = "as above")] headers: Headers,
) -> HandlerResult {
    Ok(())
}
