use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn wrong_type(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(7)
}

#[outbox]
async fn wrong_end(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
}

#[outbox]
async fn wrong_question_mark(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    "7".parse::<u8>()?;
    Ok(())
}

fn main() {}
