//! A user's own parameter, and a generic one.

use eos_runtime::prelude::*;
use eos_runtime::{Delivery, FromRecord, Needs, Rejection};

struct Tenant(String);

impl FromRecord for Tenant {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        let bytes =
            delivery.record().header("tenant").ok_or_else(|| Rejection::poison("no header `tenant`"))?;
        String::from_utf8(bytes.to_vec()).map(Tenant).map_err(Rejection::poison)
    }
}

struct Both<A, B>(A, B);

impl<A: FromRecord, B: FromRecord> FromRecord for Both<A, B> {
    fn needs(needs: &mut Needs) {
        A::needs(needs);
        B::needs(needs);
    }

    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        Ok(Both(A::from_record(delivery)?, B::from_record(delivery)?))
    }
}

#[kafka_listener(topic = "own")]
async fn on_order(Both(Tenant(tenant), headers): Both<Tenant, Headers>, _: Key<u64>) -> HandlerResult {
    let _ = (tenant, headers);
    Ok(())
}
