use eos_runtime::TxError;
use eos_runtime::prelude::*;

type Db = PgTx;

#[outbox]
async fn place(db: &mut Db, buffer: &mut Vec<u8>) -> Result<(), TxError> {
    let _ = (db, buffer);
    Ok(())
}

fn main() {}
