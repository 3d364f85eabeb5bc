use eos_runtime::prelude::*;

#[outbox(isolation = "serialisable", retries = 0, topic = "event.order")]
unsafe fn place(from: &mut PgTx, to: &mut PgTx) {
    let _ = (from, to);
}

fn main() {}
