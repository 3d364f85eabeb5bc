//! What remembers ids: Redis, or a database. Each step is done at once, whoever else is at it, and answers what it found.
//!
//! | | absent | mine | another's | done |
//! |---|---|---|---|---|
//! | claim | mine | mine, lease anew | wait | skip |
//! | renew | mine | lease anew | lost | lost |
//! | mark | done | done | done | done |
//! | release | – | absent | – | – |
//!
//! A claim whose lease has run out is as good as absent. *Mark* alone does not ask who has the claim, since a finished run is
//! a fact: whoever took a lease that had run out is running it a second time already, and if that one fails it must not be run
//! a third time. It says what it found.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Claim, Down};

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
    /// Nothing: it had been forgotten, or the lease had run out.
    Forgotten,
    /// Another's claim: its handler runs there too.
    Anothers,
    /// A mark: another's, or our own, where this is asked again.
    Done,
}

/// An answer on its way. Whether the step is done where it is dropped is not known, as where it fails.
pub(crate) type Asked<'a, T> = BoxFuture<'a, Result<T, Down>>;

/// What remembers the ids of one listener.
pub(crate) trait Medium: fmt::Debug + Send + Sync {
    /// What people call it, as the subject of a sentence.
    fn name(&self) -> &'static str;

    /// Takes the id for as long as a lease.
    fn claim<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, Answer>;

    /// Whether the claim is ours for another lease.
    fn renew<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, bool>;

    /// The id is done.
    fn mark<'a>(&'a self, claim: &'a Claim) -> Asked<'a, Marked>;

    /// Gives the id back, where it is ours.
    fn release<'a>(&'a self, claim: &'a Claim) -> Asked<'a, ()>;
}
