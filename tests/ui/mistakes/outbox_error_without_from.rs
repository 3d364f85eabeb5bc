use eos_runtime::prelude::*;

struct OutOfStock;

#[outbox]
async fn place(tx: &mut PgTx) -> Result<(), OutOfStock> {
    let _ = tx;
    Err(OutOfStock)
}

fn main() {}
