use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut Vec<u8>) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
