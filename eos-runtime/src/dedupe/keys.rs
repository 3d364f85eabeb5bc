//! Ids in Redis: a key each, which lives as long as a lease, or as the listener's `ttl`.

use std::sync::Arc;
use std::time::Duration;

use super::scripts::{CLAIM, MARK, RELEASE, RENEW};
use super::{Answer, Asked, Claim, Link, Marked, Medium};

/// The keys of one listener.
#[derive(Debug)]
pub(crate) struct Keys {
    link: Arc<Link>,
    /// What they begin with: `eos:billing:`.
    head: Vec<u8>,
    /// How long an id that is done is remembered.
    ttl: Duration,
}

impl Keys {
    pub(crate) fn new(link: Arc<Link>, prefix: &str, group: &str, ttl: Duration) -> Self {
        let mut head = prefix.as_bytes().to_vec();
        head.push(b':');
        // What ends the group is no part of it, and braces would put all its keys on one node of a cluster.
        for byte in group.bytes() {
            match byte {
                b':' | b'%' | b'{' | b'}' => head.extend(format!("%{byte:02X}").bytes()),
                _ => head.push(byte),
            }
        }
        head.push(b':');
        Keys { link, head, ttl }
    }

    /// The topic is in the key as it is in the inbox's.
    fn key(&self, claim: &Claim) -> Vec<u8> {
        let (topic, id) = (claim.topic().as_bytes(), claim.id());
        let mut key = Vec::with_capacity(self.head.len() + topic.len() + 1 + id.len());
        key.extend_from_slice(&self.head);
        key.extend_from_slice(topic);
        key.push(b':');
        key.extend_from_slice(id);
        key
    }
}

impl Medium for Keys {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn claim<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, Answer> {
        Box::pin(async move {
            Ok(match self.link.run(CLAIM, &self.key(claim), claim.token(), lease).await? {
                0 => Answer::Ours,
                left @ 1.. => Answer::Anothers(Duration::from_millis(left.unsigned_abs())),
                _ => Answer::Done,
            })
        })
    }

    fn renew<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, bool> {
        Box::pin(async move { Ok(self.link.run(RENEW, &self.key(claim), claim.token(), lease).await? == 0) })
    }

    fn mark<'a>(&'a self, claim: &'a Claim) -> Asked<'a, Marked> {
        Box::pin(async move {
            Ok(match self.link.run(MARK, &self.key(claim), claim.token(), self.ttl).await? {
                0 => Marked::Ours,
                1 => Marked::Forgotten,
                2 => Marked::Anothers,
                _ => Marked::Done,
            })
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> Asked<'a, ()> {
        Box::pin(async move {
            self.link.run(RELEASE, &self.key(claim), claim.token(), Duration::ZERO).await.map(drop)
        })
    }
}
