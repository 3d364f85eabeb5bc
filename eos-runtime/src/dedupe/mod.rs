//! Ids that were processed, remembered outside of any transaction of a handler's.
//!
//! An id is claimed for as long as a lease, by a token that nobody else has; its claim is renewed while the handler runs, and
//! turned into a mark when it is done, or given back when it failed. What each step does is in [`medium`], what it means for a
//! record in `consumer/idempotent`. Nothing of this room knows Kafka or a handler.
//!
//! | file | what it promises |
//! |---|---|
//! | `claims.rs` | one id's way from a claim to a mark, whatever remembers it |
//! | `medium.rs` | what that must be able to do. A database's side is `store/claims.rs` |
//! | `keys.rs`, `scripts.rs` | Redis's side: a key for each id, and what is done to it |
//! | `link.rs` | the way to Redis, and the only file that names the crate `redis`; without the feature its place is taken by one that cannot be made |

mod claims;
mod keys;
#[cfg(feature = "redis")]
mod link;
#[cfg(not(feature = "redis"))]
#[path = "unlinked.rs"]
mod link;
mod medium;
mod scripts;

pub(crate) use claims::{Claim, Claims};
pub(crate) use keys::Keys;
pub(crate) use link::Link;
pub(crate) use medium::{Answer, Asked, Marked, Medium};

use crate::error::BoxError;

/// What remembers ids did not do what it was asked to: whether it did it all the same is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Down {
    /// It cannot be used for now.
    #[error("{who} cannot be used (see {setting})")]
    Away {
        /// "the database `orders`".
        who: String,
        setting: String,
        #[source]
        source: BoxError,
    },
    /// It answers, and refuses: that is no outage, and waiting alone does not mend it.
    #[error(
        "{who} refuses what eos asks of it, which is no outage: look at its tables of eos, and at whoever changed them"
    )]
    Refuses {
        who: String,
        #[source]
        source: BoxError,
    },
}

impl Down {
    /// Redis did not, whatever the reason.
    pub(crate) fn of_redis(source: impl Into<BoxError>) -> Self {
        let (who, setting) = ("Redis".to_owned(), "`[redis]` of the settings".to_owned());
        Down::Away { who, setting, source: source.into() }
    }

    /// Whether it will pass by itself, as far as anybody can know.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Down::Away { .. } => true,
            Down::Refuses { .. } => false,
        }
    }
}
