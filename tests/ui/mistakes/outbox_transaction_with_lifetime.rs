use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place<'t>(tx: &'t mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
