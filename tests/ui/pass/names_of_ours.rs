//! Functions with the names that the generated code uses inside.

use eos_runtime::prelude::*;

#[kafka_listener(topic = "names", group = "handle")]
async fn handle(_: Headers) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "names", group = "needs")]
async fn needs(_: Headers) -> HandlerResult {
    Ok(())
}

#[kafka_listener(topic = "names", group = "tx", transactional)]
async fn tx(tx: &mut PgTx, delivery: Headers) -> HandlerResult {
    let _ = (tx, delivery);
    Ok(())
}

#[kafka_listener(topic = "names", group = "delivery")]
async fn delivery(body: &Record) -> HandlerResult {
    let _ = body;
    Ok(())
}

#[kafka_listener(topic = "names", group = "type")]
async fn r#type(_: Headers) -> HandlerResult {
    Ok(())
}
