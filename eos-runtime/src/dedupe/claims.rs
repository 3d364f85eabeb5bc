//! One id's way from a claim to a mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::scripts::{CLAIM, MARK, RELEASE, RENEW};
use super::{Down, Link};

/// A listener's claims, of all its partitions.
#[derive(Debug)]
pub(crate) struct Claims {
    link: Arc<Link>,
    /// What its keys begin with: `eos:billing:`.
    head: Vec<u8>,
    times: Times,
    /// Told apart from every other process's, and from this one's earlier ones.
    process: [u8; 16],
    claims: AtomicU64,
}

/// How long an id is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Once it is done.
    pub(crate) ttl: Duration,
    /// While its handler runs, from one renewal to the next.
    pub(crate) lease: Duration,
}

/// A key and who wants it, or has it.
#[derive(Debug)]
pub(crate) struct Claim {
    key: Vec<u8>,
    token: [u8; 24],
    /// When it was asked for last: whatever was granted began later.
    asked_at: Instant,
}

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ours,
    /// Another has it, for so long at the most if that one does not renew it.
    Anothers(Duration),
    /// It is processed.
    Done,
}

/// What a mark found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// Our claim.
    Ours,
    /// Nothing: Redis had forgotten it, or the lease had run out.
    Forgotten,
    /// Another's claim: its handler runs there too.
    Anothers,
    /// A mark: another's, or our own, where this is asked again.
    Done,
}

impl Claims {
    pub(crate) fn new(link: Arc<Link>, prefix: &str, group: &str, times: Times) -> Self {
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
        Claims { link, head, times, process: *uuid::Uuid::new_v4().as_bytes(), claims: AtomicU64::new(0) }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.times.lease
    }

    /// A claim that is not yet made. The topic is in the key as it is in the inbox's: a record that a service copies from one
    /// topic to another, headers and all, is not that other listener's duplicate.
    pub(crate) fn of(&self, topic: &str, id: &[u8]) -> Claim {
        let mut key = Vec::with_capacity(self.head.len() + topic.len() + 1 + id.len());
        key.extend_from_slice(&self.head);
        key.extend_from_slice(topic.as_bytes());
        key.push(b':');
        key.extend_from_slice(id);
        let mut token = [0; 24];
        token[..16].copy_from_slice(&self.process);
        token[16..].copy_from_slice(&self.claims.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Claim { key, token, asked_at: Instant::now() }
    }

    /// Asks for the key. One whose answer was lost may be asked for again: its token tells.
    pub(crate) async fn claim(&self, claim: &mut Claim) -> Result<Answer, Down> {
        claim.asked_at = Instant::now();
        Ok(match self.link.run(CLAIM, &claim.key, &claim.token, self.times.lease).await? {
            0 => Answer::Ours,
            left @ 1.. => Answer::Anothers(Duration::from_millis(left.unsigned_abs())),
            _ => Answer::Done,
        })
    }

    /// Whether the claim is ours for another lease.
    pub(crate) async fn renew(&self, claim: &Claim) -> Result<bool, Down> {
        Ok(self.link.run(RENEW, &claim.key, &claim.token, self.times.lease).await? == 0)
    }

    /// Says that the handler has done it.
    pub(crate) async fn mark(&self, claim: &Claim) -> Result<Marked, Down> {
        Ok(match self.link.run(MARK, &claim.key, &claim.token, self.times.ttl).await? {
            0 => Marked::Ours,
            1 => Marked::Forgotten,
            2 => Marked::Anothers,
            _ => Marked::Done,
        })
    }

    /// Gives the key back, where it is ours.
    pub(crate) async fn release(&self, claim: &Claim) -> Result<(), Down> {
        self.link.run(RELEASE, &claim.key, &claim.token, Duration::ZERO).await.map(drop)
    }

    /// Whether a handler may begin on it: a process that slept since it asked may have been taken for dead.
    pub(crate) fn is_fresh(&self, claim: &Claim) -> bool {
        claim.asked_at.elapsed() < self.times.lease / 2
    }
}

impl Claim {
    /// Whether they are for one id.
    pub(crate) fn is_of_the_id_of(&self, other: &Claim) -> bool {
        self.key == other.key
    }
}
