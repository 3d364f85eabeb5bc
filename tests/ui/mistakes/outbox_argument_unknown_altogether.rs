use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox(topic = "event.order")]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
