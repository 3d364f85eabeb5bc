use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox(retries = 101)]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
