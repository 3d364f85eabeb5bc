use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
