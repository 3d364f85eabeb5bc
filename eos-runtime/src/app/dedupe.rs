//! What idempotent listeners share, and what each of them has of its own. Nothing is connected before the first claim.

use std::sync::Arc;

use crate::consumer::{Chain, Deduped};
use crate::dedupe::{Claims, Link, Times};
use crate::listener::resolved::{Listener, Promise};
use crate::settings::{Found, Given, Redis};

/// The way to Redis, where a listener needs one; what is in its way is noted.
pub(super) fn link(listeners: &[Listener], redis: &Redis, found: &Found) -> Option<Arc<Link>> {
    let asks = |listener: &&Listener| matches!(listener.promise, Promise::Idempotent(..));
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
pub(super) fn deduped(listener: &Listener, redis: &Redis, link: Option<&Arc<Link>>) -> Option<Deduped> {
    let Promise::Idempotent(_, options) = listener.promise else { return None };
    let times = Times { ttl: options.ttl, lease: options.lease };
    Some(Deduped {
        claims: Claims::new(Arc::clone(link?), &redis.prefix, &listener.group, times),
        id: options.id,
        on_outage: options.on_outage,
    })
}
