use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

async fn called(pool: sqlx::PgPool, tx: PgTx) {
    let _ = place(pool).await;
    let _ = place(&tx).await;
    let _ = place(tx).await;
}

fn main() {}
