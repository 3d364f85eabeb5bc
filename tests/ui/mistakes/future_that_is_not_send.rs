use std::rc::Rc;

use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order")]
async fn on_order(_: &Record) -> HandlerResult {
    let count = Rc::new(1);
    std::future::ready(()).await;
    drop(count);
    Ok(())
}

fn main() {}
