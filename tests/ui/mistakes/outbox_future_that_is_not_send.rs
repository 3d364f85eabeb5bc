use eos_runtime::TxError;
use eos_runtime::prelude::*;

fn spawned<T>(_: impl Future<Output = T> + Send) {}

#[outbox]
async fn place(tx: &mut PgTx) -> Result<(), TxError> {
    let count = std::rc::Rc::new(1);
    std::future::ready(()).await;
    let _ = (tx, count);
    Ok(())
}

fn called(pool: &sqlx::PgPool) {
    spawned(place(pool));
}

fn main() {}
