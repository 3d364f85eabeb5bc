//! One id's way from a claim to a mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Answer, Down, Marked, Medium};

/// A listener's claims, of all its partitions.
#[derive(Debug)]
pub(crate) struct Claims {
    medium: Box<dyn Medium>,
    /// How long a claim lives while its handler runs, from one renewal to the next.
    lease: Duration,
    /// Told apart from every other process's, and from this one's earlier ones.
    process: [u8; 16],
    claims: AtomicU64,
}

/// An id, and who wants it, or has it.
#[derive(Debug)]
pub(crate) struct Claim {
    /// An id is known within its topic: a record that a service copies from one topic to another, headers and all, is not that
    /// other listener's duplicate.
    topic: Arc<str>,
    id: Vec<u8>,
    token: [u8; 24],
    /// When it was asked for last: whatever was granted began later.
    asked_at: Instant,
}

impl Claims {
    pub(crate) fn new(medium: Box<dyn Medium>, lease: Duration) -> Self {
        Claims { medium, lease, process: *uuid::Uuid::new_v4().as_bytes(), claims: AtomicU64::new(0) }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// What remembers them, as the subject of a sentence.
    pub(crate) fn medium(&self) -> &'static str {
        self.medium.name()
    }

    /// A claim that is not yet made.
    pub(crate) fn of(&self, topic: &Arc<str>, id: &[u8]) -> Claim {
        let mut token = [0; 24];
        token[..16].copy_from_slice(&self.process);
        token[16..].copy_from_slice(&self.claims.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Claim { topic: Arc::clone(topic), id: id.to_vec(), token, asked_at: Instant::now() }
    }

    /// Asks for the id. One whose answer was lost may be asked for again: its token tells.
    pub(crate) async fn claim(&self, claim: &mut Claim) -> Result<Answer, Down> {
        claim.asked_at = Instant::now();
        self.medium.claim(claim, self.lease).await
    }

    /// Whether the claim is ours for another lease.
    pub(crate) async fn renew(&self, claim: &Claim) -> Result<bool, Down> {
        self.medium.renew(claim, self.lease).await
    }

    /// Says that the handler has done it.
    pub(crate) async fn mark(&self, claim: &Claim) -> Result<Marked, Down> {
        self.medium.mark(claim).await
    }

    /// Gives the id back, where it is ours.
    pub(crate) async fn release(&self, claim: &Claim) -> Result<(), Down> {
        self.medium.release(claim).await
    }

    /// Whether a handler may begin on it: a process that slept since it asked may have been taken for dead.
    pub(crate) fn is_fresh(&self, claim: &Claim) -> bool {
        claim.asked_at.elapsed() < self.lease / 2
    }
}

impl Claim {
    /// Whether they are for one id.
    pub(crate) fn is_of_the_id_of(&self, other: &Claim) -> bool {
        self.topic == other.topic && self.id == other.id
    }

    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// At most 64 bytes.
    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }

    /// Nobody else's, and no other claim's.
    pub(crate) fn token(&self) -> &[u8; 24] {
        &self.token
    }
}
