//! A listener: the user's async fn and its settings, as the attribute printed them and as start-up resolved them.

pub(crate) mod outcome;
pub(crate) mod resolved;
pub(crate) mod retry;
pub(crate) mod spec;
