use eos_runtime::prelude::*;

#[outbox]
struct Orders;

fn main() {}
