use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(id: Uuid) -> Result<(), TxError> {
    let _ = id;
    Ok(())
}

fn main() {}
