//! What a listener may return.

use eos_runtime::prelude::*;

#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

// With an opinion on whether another try can help.
impl From<OutOfStock> for HandlerError {
    fn from(error: OutOfStock) -> Self {
        HandlerError::fatal(error)
    }
}

fn reserve() -> Result<(), OutOfStock> {
    Err(OutOfStock)
}

#[kafka_listener(topic = "results.converted")]
async fn converted() -> HandlerResult {
    reserve()?;
    Ok(())
}

#[kafka_listener(topic = "results.own")]
async fn own() -> Result<(), OutOfStock> {
    reserve()
}

#[kafka_listener(topic = "results.anyhow")]
async fn anyhow() -> anyhow::Result<()> {
    use anyhow::Context;
    reserve().context("reserving")
}

#[kafka_listener(topic = "results.boxed")]
async fn boxed() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Ok(reserve()?)
}

#[kafka_listener(topic = "results.text")]
async fn text() -> Result<(), String> {
    Err("out of stock".to_owned())
}

#[kafka_listener(topic = "results.sqlx", transactional(isolation = "serializable", dedupe = "position"))]
async fn sqlx_error(tx: &mut PgTx) -> HandlerResult {
    let _ = tx;
    std::str::from_utf8(b"fine")?;
    Err(HandlerError::fatal("never again"))
}
