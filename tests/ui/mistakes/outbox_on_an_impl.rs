use eos_runtime::TxError;
use eos_runtime::prelude::*;

struct Orders;

#[outbox]
impl Orders {
    async fn place(&self, tx: &mut PgTx) -> Result<(), TxError> {
        let _ = tx;
        Ok(())
    }
}

fn main() {}
