use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut PgTx) -> Result<impl Event, TxError> {
    let _ = tx;
    todo()
}

fn main() {}
