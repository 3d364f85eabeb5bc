//! Ids that are claimed, and marked in the inbox, outside of a handler's transaction: how a database is a [`Medium`].
//!
//! What is done is in the inbox, where a transactional listener of the same group and topic finds it too. A claim is a row of
//! `eos_claim`, with its owner's token and the time, by the database's clock, at which its lease runs out.
//!
//! A claim is written first, and the inbox is looked at by a *later* statement. Otherwise: B looks and does not find the id;
//! A's mark commits, which puts the id there and takes A's claim away; B writes its claim, and would run what is done. For B
//! may have waited for A's mark to commit, and a statement that waited still sees what there was when it began.
//!
//! No lock outlives a message: the server carries each to its end whether or not its sender is still awake. (On SQLite it is a
//! turn at writing, which is ended past its time like any other's.) A connection whose answer did not come is closed.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Dialect, Fault, Store, StoreOptions};
use crate::dedupe::{Answer, Asked, Claim, Down, Marked, Medium};
use crate::error::BoxError;
use crate::listener::spec::Isolation;

/// When a database that has not answered counts as one that cannot be used.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever is told sooner than that may ask again at once: a connection was broken, and the next one may be good.
const LONG: Duration = Duration::from_secs(1);
/// How often two that met are tried again at once.
const AT_ONCE: u32 = 10;
/// How long a claim whose lease has run out is kept: its owner may only have slept, and is told more truly with it. Nobody waits
/// for it.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// A database in which ids can be claimed.
pub(crate) trait ClaimDialect: Dialect {
    /// Writes the claim, unless the id is done or another's claim stands; and then looks.
    fn claim_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
        lease: Duration,
    ) -> impl Future<Output = sqlx::Result<Look>> + Send;

    /// Puts the id into the inbox, and takes the claim away where it is ours, in one commit.
    fn mark_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
    ) -> impl Future<Output = sqlx::Result<Marking>> + Send;

    /// Takes the claim away where it is ours.
    fn release_id(
        store: &Store<Self>,
        stream: i32,
        claim: &Claim,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Deletes claims whose leases have run out [long ago](KEPT); says how many.
    fn sweep_claims(store: &Store<Self>) -> impl Future<Output = sqlx::Result<u64>> + Send;
}

/// What is seen of an id behind a claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The inbox has it.
    pub(crate) is_done: bool,
    /// The claim that stands is ours; `None` where none stands.
    pub(crate) is_ours: Option<bool>,
    /// For how long it stands, by the database's clock.
    pub(crate) left_ms: Option<i64>,
}

impl Look {
    fn answer(self) -> Answer {
        match (self.is_done, self.is_ours) {
            (true, _) => Answer::Done,
            (false, Some(true)) => Answer::Ours,
            // One that went away between the two statements is asked for again at once.
            (false, Some(false) | None) => {
                Answer::Anothers(Duration::from_millis(self.left_ms.unwrap_or(0).max(1).unsigned_abs()))
            }
        }
    }
}

/// What a mark has found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marking {
    /// The id was not in the inbox.
    pub(crate) is_new: bool,
    pub(crate) was_ours: bool,
    pub(crate) is_anothers: bool,
}

impl Marking {
    fn found(self) -> Marked {
        match self {
            Marking { is_new: false, .. } => Marked::Done,
            Marking { was_ours: true, .. } => Marked::Ours,
            Marking { is_anothers: true, .. } => Marked::Anothers,
            Marking { .. } => Marked::Forgotten,
        }
    }
}

/// The claims of one group in one database.
pub(crate) struct ClaimTable<D: Dialect> {
    store: Arc<Store<D>>,
    group: Arc<str>,
    /// As the settings have it, and where they have it.
    name: String,
    setting: String,
    /// The inbox's number for each topic, as far as it is known; after an error it is asked for again.
    streams: Mutex<HashMap<Arc<str>, i32>>,
    absence: Mutex<Absence>,
}

/// What is known of a database that is away.
#[derive(Default)]
struct Absence {
    /// Until when it counts as away, and why: for as long as the last one [waited](LONG) for it in vain, nobody else does. A
    /// listener that goes on without it would otherwise wait so long for each record.
    until: Option<(Instant, String)>,
    /// When it answered last: who waited longer than that knows less.
    answered: Option<Instant>,
}

impl<D: ClaimDialect> ClaimTable<D> {
    pub(crate) fn new(store: &Arc<Store<D>>, group: &Arc<str>, name: &str, setting: &str) -> Self {
        ClaimTable {
            store: Arc::clone(store),
            group: Arc::clone(group),
            name: name.to_owned(),
            setting: setting.to_owned(),
            streams: Mutex::default(),
            absence: Mutex::default(),
        }
    }

    /// Takes one step, as often as two transactions meet.
    async fn ask<'a, T, F>(
        &'a self,
        claim: &'a Claim,
        step: impl Fn(&'a Store<D>, i32) -> F,
    ) -> Result<T, Down>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        if let Some((until, why)) = &lock(&self.absence).until
            && Instant::now() < *until
        {
            return Err(self.away(why.clone().into()));
        }
        let began = Instant::now();
        let asking = async {
            let mut met = 0;
            loop {
                let answer = match self.stream(claim).await {
                    Ok(stream) => step(&self.store, stream).await,
                    Err(error) => Err(error),
                };
                match answer {
                    Err(error) if met < AT_ONCE && D::fault(&error) == Fault::Transient => met += 1,
                    answer => return answer,
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        match answer.unwrap_or_else(|_elapsed| Err(timed_out())) {
            Ok(answer) => {
                *lock(&self.absence) = Absence { until: None, answered: Some(Instant::now()) };
                Ok(answer)
            }
            Err(error) => Err(self.down(began, error)),
        }
    }

    async fn stream(&self, claim: &Claim) -> sqlx::Result<i32> {
        const OPTIONS: StoreOptions =
            StoreOptions { isolation: Isolation::ReadCommitted, deadline: PATIENCE };
        if let Some(stream) = lock(&self.streams).get(claim.topic()) {
            return Ok(*stream);
        }
        let stream = D::stream(&self.store, &self.group, claim.topic(), None, OPTIONS).await?.id;
        lock(&self.streams).insert(Arc::clone(claim.topic()), stream);
        Ok(stream)
    }

    /// What an error means that was waited for since then.
    fn down(&self, began: Instant, error: sqlx::Error) -> Down {
        lock(&self.streams).clear();
        let fault = D::fault(&error);
        if fault == Fault::Failed {
            return Down::Refuses { who: self.who(), source: error.into() };
        }
        let mut absence = lock(&self.absence);
        let has_answered = absence.answered.is_some_and(|answered| answered > began);
        if fault == Fault::Unavailable && began.elapsed() > LONG && !has_answered {
            absence.until = Some((Instant::now() + began.elapsed(), error.to_string()));
        }
        // What broke one connection has broken the others, most probably. That none was free is no reason to close them.
        let is_broken = fault == Fault::Unavailable && !matches!(error, sqlx::Error::PoolTimedOut);
        if is_broken || fault == Fault::ReadOnly {
            self.store.freshness.renew();
        }
        self.away(error.into())
    }

    fn away(&self, source: BoxError) -> Down {
        Down::Away { who: self.who(), setting: self.setting.clone(), source }
    }

    fn who(&self) -> String {
        format!("the database `{}`", self.name)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<D: ClaimDialect> Medium for ClaimTable<D> {
    fn name(&self) -> &'static str {
        "the database"
    }

    fn claim<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, Answer> {
        Box::pin(async move {
            let look = self.ask(claim, |store, stream| D::claim_id(store, stream, claim, lease)).await?;
            if look.is_done && look.is_ours == Some(true) {
                // It was marked while we asked. Left where it is, it would only wait for the sweep.
                self.ask(claim, |store, stream| D::release_id(store, stream, claim)).await.ok();
            }
            Ok(look.answer())
        })
    }

    /// A claim that is made again: one that is gone, or whose lease has run out, is ours if nobody has taken it.
    fn renew<'a>(&'a self, claim: &'a Claim, lease: Duration) -> Asked<'a, bool> {
        Box::pin(async move { Ok(self.claim(claim, lease).await? == Answer::Ours) })
    }

    fn mark<'a>(&'a self, claim: &'a Claim) -> Asked<'a, Marked> {
        Box::pin(async move {
            Ok(self.ask(claim, |store, stream| D::mark_id(store, stream, claim)).await?.found())
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> Asked<'a, ()> {
        Box::pin(self.ask(claim, |store, stream| D::release_id(store, stream, claim)))
    }
}

impl<D: Dialect> fmt::Debug for ClaimTable<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimTable")
            .field("group", &self.group)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn timed_out() -> sqlx::Error {
    let why = format!("no answer within {}", humantime::format_duration(PATIENCE));
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}
