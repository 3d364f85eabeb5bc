use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event order", kee = order_id, type = 7, version = "two", headers(by = custommer, type = "x"))]
enum OrderPlaced<T> {
    #[event(topic = "event.order")]
    Some(T),
}

fn main() {}
