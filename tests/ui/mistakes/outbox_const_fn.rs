use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
const fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
