use eos_runtime::TxError;
use eos_runtime::prelude::*;

trait Orders {
    #[outbox]
    async fn place(&self, tx: &mut PgTx) -> Result<(), TxError>;
}

fn main() {}
