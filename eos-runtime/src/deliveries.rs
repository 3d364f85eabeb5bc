#![doc = include_str!("../docs/deliveries.md")]
