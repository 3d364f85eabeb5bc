use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut PgTx) {
    let _ = tx;
}

fn main() {}
