//! The application: what the program gives, checked as a whole with the settings, then run until it is stopped.
//!
//! ```text
//! App (what the program gives) ─┐
//! Settings (file, environment) ─┼→ Plan (checked, nothing open) → serve → stop in order
//! inventory (what was linked)  ─┘
//! ```

#[cfg(feature = "admin")]
mod admin;
mod builder;
mod checks;
mod databases;
mod dedupe;
mod deliver;
mod glob;
mod look;
mod open;
mod plan;
mod promise;
mod relays;
mod resolve;
mod run;
mod select;
mod serve;
mod signals;
mod target;

pub use builder::{App, app, relay};
pub use run::run;
pub use target::DatabasePool;

#[cfg(test)]
mod tests;
