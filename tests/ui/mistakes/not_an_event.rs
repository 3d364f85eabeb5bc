use eos_runtime::prelude::*;
use eos_runtime::{Delivery, FromRecord, Rejection};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
}

struct Maybe(Option<OrderPlaced>);

impl FromRecord for Maybe {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        delivery.event().map(Maybe)
    }
}

fn main() {}
