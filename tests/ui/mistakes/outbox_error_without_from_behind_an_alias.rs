use eos_runtime::prelude::*;

struct OutOfStock;
type Outcome = Result<(), OutOfStock>;

#[outbox(retries = 1)]
async fn place(tx: &mut PgTx) -> Outcome {
    let _ = tx;
    Err(OutOfStock)
}

fn main() {}
