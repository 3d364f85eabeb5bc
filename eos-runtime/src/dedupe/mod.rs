//! Ids that were processed, remembered outside of any database of ours.
//!
//! An id is claimed for as long as a lease, by a token that nobody else has; its claim is renewed while the handler runs, and
//! turned into a mark when it is done, or given back when it failed. What each step does to a key is in [`scripts`], what it
//! means for a record in `consumer/idempotent`. Nothing of this room knows Kafka or a handler.
//!
//! `link` is the only file that names the crate `redis`; without the feature its place is taken by one that cannot be made.

mod claims;
#[cfg(feature = "redis")]
mod link;
#[cfg(not(feature = "redis"))]
#[path = "unlinked.rs"]
mod link;
mod scripts;

pub(crate) use claims::{Answer, Claim, Claims, Marked, Times};
pub(crate) use link::Link;

/// Redis did not do what it was asked to, whatever the reason: whether it did it all the same is not known.
#[derive(Debug, thiserror::Error)]
#[error("Redis cannot be used (see `[redis]` of the settings)")]
pub(crate) struct Down(#[source] pub(crate) crate::error::BoxError);
