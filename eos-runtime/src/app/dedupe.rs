//! What idempotent listeners share, and what each of them has of its own. Redis is not connected before the first claim.

use std::sync::Arc;

use super::open::Opened;
use super::plan::Plan;
use crate::consumer::{Chain, Deduped};
use crate::dedupe::{self, Claims, Keys, Link};
use crate::listener::resolved::{Listener, Medium, Promise};
use crate::settings::{Found, Given, Redis};

/// The way to Redis, where a listener needs one; what is in its way is noted.
pub(super) fn link(listeners: &[Listener], redis: &Redis, found: &Found) -> Option<Arc<Link>> {
    let asks = |listener: &&Listener| matches!(&listener.promise, Promise::Idempotent(_, options) if matches!(options.medium, Medium::Redis { .. }));
    let listener = listeners.iter().find(asks)?.id;
    let address = match &redis.address {
        Given::As(address) => address,
        Given::Absent if cfg!(feature = "redis") => {
            found.add(format!(
                "listener `{listener}` is `idempotent(redis)`, and there is no Redis; set `[redis] url` (`EOS_REDIS_URL`)"
            ));
            return None;
        }
        Given::Absent => {
            found.add(format!(
                "listener `{listener}` is `idempotent(redis)`, and this binary was built without it; add the feature \
                 `redis` to `eos-runtime` in Cargo.toml"
            ));
            return None;
        }
        Given::Mistaken => return None,
    };
    let link = Link::new(redis, address);
    link.map_err(|down| found.add(format!("`[redis] url`: {}", Chain(&down)))).ok()
}

/// A listener's claims, where it is idempotent.
pub(super) fn deduped(listener: &Listener, plan: &Plan, databases: &[Opened]) -> Option<Deduped> {
    let Promise::Idempotent(_, options) = listener.promise else { return None };
    let group = &listener.group;
    let medium: Box<dyn dedupe::Medium> = match options.medium {
        Medium::Redis { ttl } => {
            let link = Arc::clone(plan.redis.as_ref()?);
            Box::new(Keys::new(link, &plan.settings.redis.prefix, group, ttl))
        }
        Medium::Database(database) => databases[database.0].claims(group, &plan.databases[database.0]),
    };
    Some(Deduped { claims: Claims::new(medium, options.lease), id: options.id, on_outage: options.on_outage })
}
