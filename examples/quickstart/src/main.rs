//! Shows eos at work on nothing but this machine.
fn main() {}
