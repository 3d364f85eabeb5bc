use eos_runtime::TxError;
use eos_runtime::prelude::*;

#[outbox(retry = 3)]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let _ = tx;
    Ok(())
}

async fn called(pool: sqlx::PgPool) {
    let _ = place(&pool).await;
}

fn main() {}
