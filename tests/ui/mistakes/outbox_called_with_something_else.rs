use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

async fn called(tx: PgTx) {
    let _ = place(&tx).await;
}

fn main() {}
