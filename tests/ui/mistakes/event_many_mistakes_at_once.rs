use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event order", kee = order_id, type = 7, version = "two", headers(by = custommer, type = "x", a-b = 1))]
#[event(key = ordr_id, type = "OrderPlaced")]
struct OrderPlaced<T> {
    #[event(topic = "event.order")]
    order_id: Uuid,
    customer: T,
}

fn main() {}
