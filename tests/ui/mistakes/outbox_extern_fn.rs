use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async extern "C" fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
