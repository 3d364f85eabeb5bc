use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
enum OrderEvent {
    Placed(Uuid),
    Cancelled { order_id: Uuid },
}

fn main() {}
