use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut impl Send) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
