use eos_runtime::TxError;
use eos_runtime::prelude::*;

struct Order;

#[outbox(retries = 3)]
async fn place(tx: &mut PgTx, order: Order) -> Result<(), TxError> {
    let _ = (tx, order);
    Ok(())
}

fn main() {}
