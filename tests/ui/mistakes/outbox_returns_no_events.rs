use eos_runtime::TxError;
use eos_runtime::prelude::*;

struct Order;

#[outbox]
async fn place(tx: &mut PgTx) -> Result<Vec<Order>, TxError> {
    let _ = tx;
    Ok(vec![Order])
}

fn main() {}
