use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[kafka_listener(topic = "event.order", transactional)]
#[outbox]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

fn main() {}
