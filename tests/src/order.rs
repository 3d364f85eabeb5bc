//! The event that the tests produce, and what its handler is to do with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order, as the program on the first page of the documentation reads it. It does not see [`Order::what`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which one.
    pub order_id: Uuid,
    /// Whose.
    pub customer: String,
    /// How much.
    pub amount_cents: i64,
    /// How its handler behaves.
    pub what: What,
}

/// How the handler behaves. All of them insert the order's row first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Nothing else.
    Insert,
    /// Waits while the scene's gate is closed.
    Hold,
    /// Takes its time, up to a fiftieth of a second by its id.
    Dawdle,
    /// Takes a third of a second.
    Slow,
    /// Fails at the first two attempts, after its writes.
    FailTwice,
    /// Fails at its first attempts, none to three of them by its id, after its writes.
    FailSome,
    /// Fails at every attempt.
    FailAlways,
    /// Says that it can never succeed.
    Fatal,
    /// Says that something it needs is down, while the scene's gate is closed.
    Outage,
    /// Ends the process, as a handler does that overflows its stack.
    Kill,
    /// The same, after a fifth of a second.
    KillLate,
    /// Panics at the first attempt.
    Panic,
    /// Panics at every attempt.
    PanicAlways,
    /// Goes on after an SQL error as if nothing had been, at the first two attempts.
    SwallowTwice,
    /// Makes a decoy schema, which has tables of the same names, the first in the search path.
    MoveSearchPath,
    /// Says COMMIT through the transaction, which refuses it, at the first attempt.
    CommitOnce,
    /// Says COMMIT on the connection, past the transaction's guard, and writes on.
    CommitPastTheGuard,
    /// Says ROLLBACK on the connection, past the transaction's guard.
    RollbackPastTheGuard,
    /// Sleeps past its deadline at the first attempt.
    Oversleep,
    /// Blocks its thread for three seconds at the first attempt.
    Block,
    /// Sleeps past its deadline inside the database at the first attempt.
    OversleepInTheDatabase,
    /// Sends more than its topic takes, where it sends anything.
    TooLarge,
    /// Fails while the scene's gate is closed.
    FailWhileClosed,
    /// Meets another transaction while the scene's gate is closed, as far as the database says.
    MeetWhileClosed,
    /// Fails once; from then on, while the scene's gate is closed, its connection ends just before its COMMIT.
    DoubtWhileClosed,
}

impl What {
    /// Whether no attempt can succeed, so that its order is set aside.
    pub fn never_succeeds(self) -> bool {
        matches!(self, What::FailAlways | What::Fatal | What::Kill | What::KillLate | What::PanicAlways)
    }
}

impl Order {
    const ANYBODY: &str = "Ada";

    /// A new one, with a key of its own.
    pub fn new(what: What) -> Self {
        Self::of(Self::ANYBODY, what)
    }

    /// One of a customer whose orders have the same key.
    pub fn of(customer: &str, what: What) -> Self {
        Order { order_id: Uuid::new_v4(), customer: customer.to_owned(), amount_cents: 4200, what }
    }

    /// The key of its record.
    pub fn key(&self) -> String {
        if self.customer == Self::ANYBODY { self.order_id.to_string() } else { self.customer.clone() }
    }

    /// How long it [takes](What::Dawdle).
    pub fn time(&self) -> Duration {
        Duration::from_micros(u64::from(self.order_id.as_bytes()[1]) * 80)
    }

    /// How often it [fails at first](What::FailSome).
    pub fn failures(&self) -> u32 {
        u32::from(self.order_id.as_bytes()[0] % 4)
    }
}
