//! In place of the way to Redis where this binary was built without it: there is none, and so nothing to be done with one.

use std::sync::Arc;
use std::time::Duration;

use super::Down;
use super::scripts::Script;
use crate::settings::{Redis, RedisAddress};

/// Nobody has one.
#[derive(Debug)]
pub(crate) enum Link {}

impl Link {
    /// Refuses.
    pub(crate) fn new(_: &Redis, _: &RedisAddress) -> Result<Arc<Self>, Down> {
        Err(Down::of_redis("this binary was built without it"))
    }

    /// Never called.
    #[expect(clippy::unused_async, reason = "it stands for one that waits")]
    pub(crate) async fn run(&self, _: Script, _: &[u8], _: &[u8], _: Duration) -> Result<i64, Down> {
        match *self {}
    }
}
