use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut PgTx) -> u64 {
    let _ = tx;
    7
}

fn main() {}
