use eos_runtime::TxError;
use eos_runtime::prelude::*;

trait Places {
    async fn place(&self, tx: &mut PgTx) -> Result<(), TxError>;
}

struct Orders;

impl Places for Orders {
    #[outbox]
    async fn place(&self, tx: &mut PgTx) -> Result<(), TxError> {
        let _ = tx;
        Ok(())
    }
}

fn main() {}
