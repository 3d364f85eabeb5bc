use eos_runtime::TxError;
use eos_runtime::prelude::*;

struct Orders;

impl Orders {
    #[outbox(retries = 3)]
    async fn place(self, tx: &mut PgTx) -> Result<(), TxError> {
        let _ = tx;
        Ok(())
    }
}

fn main() {}
