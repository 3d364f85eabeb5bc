use eos_runtime::prelude::*;

#[kafka_listener(topic = "event order", grop = "billing", deadline = "soon", concurrency = 0, transactional(dedup = "position"))]
fn on_order<T>(_first: &mut PgTx, _second: &mut PgTx) {}

fn main() {}
