use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
#[kafka_listener(topic = "event.order", transactional)]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
