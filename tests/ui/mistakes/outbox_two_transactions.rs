use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(from: &mut PgTx, to: &mut PgTx) -> Result<(), TxError> {
    let _ = (from, to);
    Ok(())
}

fn main() {}
