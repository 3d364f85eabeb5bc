use eos_runtime::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "event.order")]
struct Envelope<T> {
    payload: T,
}

fn main() {}
