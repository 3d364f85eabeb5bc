//! An idempotent listener's way around a handler: claim the id → run → mark it.
//!
//! At most one run of an id comes to its end while the id is remembered, but for the time between a handler's effect and its
//! mark: a process that dies, or sleeps past its lease, in there leaves an effect that nobody knows of, and it is run again.
//!
//! | what is met | what follows |
//! |---|---|
//! | the id is done | the record is a duplicate: its handler does not run |
//! | another has claimed it | its partition waits: whether that one succeeds is not known yet, so skipping could lose it |
//! | the claim is lost while the handler runs | the handler is dropped, and the claim begins anew; no attempt is counted |
//! | the handler failed | the claim is given back before anything else |
//! | what remembers ids is down | an outage: nothing is handled, or marked, until it is back; `on_outage = "process"` goes on without it |
//! | it refuses what it is asked | no outage, but waited for as one, and said as an error: a person must look |
//!
//! A record without an id is handled like any other listener's. The offset is stored after the mark. While a next record is
//! queued, its claim travels with the mark; it is given back where it is not worked off.

mod id;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::failure::{Chain, Failure};
use super::once::Once;
use super::owner::Halt;
use super::work::Work;
use crate::dedupe::{Answer, Claim, Claims, Down, Marked};
use crate::error::BoxError;
use crate::fault;
use crate::listener::spec::{IdSource, OnOutage};
use crate::record::Record;
use crate::source::Place;

/// How often another's claim is looked at, at the rarest.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an idempotent listener's workers share.
#[derive(Debug)]
pub(crate) struct Deduped {
    pub(crate) claims: Claims,
    pub(crate) id: IdSource,
    pub(crate) on_outage: OnOutage,
}

impl Deduped {
    /// One record through one attempt, without a partition.
    pub(super) async fn once(
        &self,
        work: &Work,
        record: &Record,
        run: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<Once, BoxError> {
        let Some(mut claim) = self.claim_of(work, record) else {
            run().await?;
            return Ok(Once::Applied);
        };
        match self.claims.claim(&mut claim).await? {
            Answer::Done => return Ok(Once::Duplicate),
            Answer::Anothers(left) => {
                return Err(
                    format!("another has claimed this record's id, for {left:.1?} at the most").into()
                );
            }
            Answer::Ours => {}
        }
        if let Err(failure) = run().await {
            self.claims.release(&claim).await?;
            return Err(failure.into());
        }
        self.claims.mark(&claim).await?;
        Ok(Once::Applied)
    }

    /// A claim of the record's id, where it has one.
    fn claim_of(&self, work: &Work, record: &Record) -> Option<Claim> {
        let id = id::of(work, self.id, record)?;
        Some(self.claims.of(record.topic_shared(), id.as_bytes()))
    }
}

/// A partition's claims.
#[derive(Debug)]
pub(super) struct Claimer<'w> {
    work: &'w Work,
    deduped: &'w Deduped,
    /// The record that is next, and what its claim was told.
    ahead: Option<Ahead>,
    /// Whether the outage that is on was found here.
    down: bool,
}

#[derive(Debug)]
struct Ahead {
    /// Until it is taken.
    record: Option<Record>,
    offset: i64,
    /// Where it has an id that is not the last one's; the answer is absent where none came.
    claim: Option<(Claim, Option<Answer>)>,
}

/// What is to be done with a record.
#[derive(Debug)]
pub(super) enum Turn {
    /// Its handler runs; without a claim where it has no id.
    Run(Option<Claim>),
    /// Nothing: it was done before.
    Skip,
}

impl<'w> Claimer<'w> {
    /// Where the listener dedupes.
    pub(super) fn of(work: &'w Work) -> Option<Self> {
        let deduped = work.deduped.as_ref()?;
        Some(Claimer { work, deduped, ahead: None, down: false })
    }

    /// The record that was taken out of the queue already.
    pub(super) fn next(&mut self) -> Option<Record> {
        self.ahead.as_mut()?.record.take()
    }

    /// Claims the record's id, and waits for whoever has it.
    pub(super) async fn claim(&mut self, place: &Place, record: &Record, attempt: u32) -> Result<Turn, Halt> {
        let ahead = self.ahead.take().filter(|ahead| ahead.offset == record.offset());
        let (mut claim, mut told) = match ahead.and_then(|ahead| ahead.claim) {
            Some((claim, told)) => (claim, told),
            None => match self.claim_of(record) {
                Some(claim) => (claim, None),
                None => {
                    self.work.counts.without_id.add(u64::from(attempt == 1));
                    return Ok(Turn::Run(None));
                }
            },
        };
        let mut waits = 0;
        loop {
            fault::point("dedupe_before_claim");
            let answer = match told.take() {
                Some(answer) => Ok(answer),
                None => self.deduped.claims.claim(&mut claim).await,
            };
            match answer {
                Ok(Answer::Ours) => {
                    fault::point("dedupe_after_claim");
                    self.is_back();
                    // A process that slept here may have been taken for dead: it asks again, with the token that it has.
                    if self.deduped.claims.is_fresh(&claim) {
                        return Ok(Turn::Run(Some(claim)));
                    }
                }
                Ok(Answer::Done) => {
                    self.is_back();
                    self.work.counts.duplicates.one();
                    return Ok(Turn::Skip);
                }
                Ok(Answer::Anothers(left)) => {
                    self.say_that_it_waits(place, record, waits);
                    waits += 1;
                    let wait = self.work.retry.wait(waits).min(left).min(LOOK_AGAIN);
                    if place.revoked_within(wait.max(Duration::from_millis(1))).await {
                        return Err(Halt::Revoked);
                    }
                }
                // Whatever became of the request, the mark that follows tells of the run if it can.
                Err(down) if self.goes_on(&down, record) => return Ok(Turn::Run(Some(claim))),
                Err(down) => self.outage(place, &down).await?,
            }
        }
    }

    /// Runs a handler, and renews the claim while it runs; `None` where the claim was lost, and the handler dropped.
    pub(super) async fn run<F: Future>(&self, claim: &Claim, handler: F) -> Option<F::Output> {
        let every = self.deduped.claims.lease() / 3;
        let mut handler = pin!(handler);
        let mut renew_at = Instant::now() + every;
        loop {
            let mut due = pin!(tokio::time::sleep_until(renew_at.into()));
            let output = poll_fn(|context| {
                // The clock is asked and not only the timer, which may be late: a process that slept past its lease must not go
                // on with a handler before it knows that nobody else has begun.
                if Instant::now() >= renew_at {
                    return Poll::Ready(None);
                }
                match handler.as_mut().poll(context) {
                    Poll::Ready(output) => Poll::Ready(Some(output)),
                    Poll::Pending => due.as_mut().poll(context).map(|()| None),
                }
            });
            if let Some(output) = output.await {
                return Some(output);
            }
            let renewing = self.deduped.claims.renew(claim);
            let renewed = if renew_at.elapsed() > every {
                renewing.await
            } else {
                tokio::select! {
                    biased;
                    output = &mut handler => return Some(output),
                    renewed = renewing => renewed,
                }
            };
            renew_at = Instant::now() + every;
            match renewed {
                Ok(true) => {}
                Ok(false) => {
                    self.work.counts.claims_lost.one();
                    tracing::warn!(
                        listener = %self.work.id,
                        "the claim of a record was lost while its handler ran (its lease had run out, or {} forgot it), and another \
                         has it; the handler is dropped, and what it has done so far may be done twice",
                        self.deduped.claims.medium()
                    );
                    return None;
                }
                // Nobody else can claim it either. The mark waits until it is back.
                Err(down) => {
                    tracing::debug!(listener = %self.work.id, error = %Chain(&down), "a claim was not renewed")
                }
            }
        }
    }

    /// Marks what was run, and claims the record that is next where it is known already.
    pub(super) async fn done(
        &mut self,
        place: &Place,
        record: &Record,
        claim: &Claim,
        next: Option<Record>,
    ) -> Result<(), Halt> {
        fault::point("dedupe_after_run");
        let claims = &self.deduped.claims;
        let mut ahead = next.map(|record| Ahead {
            offset: record.offset(),
            // The same id would be done by the time it is asked for.
            claim: self
                .claim_of(&record)
                .filter(|next| !next.is_of_the_id_of(claim))
                .map(|claim| (claim, None)),
            record: Some(record),
        });
        let mut marked = match ahead.as_mut().and_then(|ahead| ahead.claim.as_mut()) {
            Some((next, told)) => {
                let (marked, answer) = tokio::join!(claims.mark(claim), claims.claim(next));
                *told = answer.ok();
                marked
            }
            None => claims.mark(claim).await,
        };
        self.ahead = ahead;
        let mut is_again = false;
        loop {
            match marked {
                Ok(found) => {
                    fault::point("dedupe_after_mark");
                    self.is_back();
                    // It may be our own, whose answer was lost.
                    if !(is_again && found == Marked::Done) {
                        self.say_what_was_found(found, record);
                    }
                    return Ok(());
                }
                Err(down) if self.goes_on(&down, record) => return Ok(()),
                // It is done, and only the mark is tried again: running it again is what the mark is there to prevent.
                Err(down) => self.outage(place, &down).await?,
            }
            marked = self.deduped.claims.mark(claim).await;
            is_again = true;
        }
    }

    /// Gives a claim back, since the handler failed.
    pub(super) async fn release(
        &mut self,
        place: &Place,
        record: &Record,
        claim: &Claim,
    ) -> Result<(), Halt> {
        loop {
            match self.deduped.claims.release(claim).await {
                Ok(()) => {
                    self.is_back();
                    return Ok(());
                }
                Err(down) if self.goes_on(&down, record) => return Ok(()),
                Err(down) => self.outage(place, &down).await?,
            }
        }
    }

    /// Gives back what was claimed for a record that is not worked off here.
    pub(super) async fn rest(&mut self) {
        if let Some((claim, _)) = self.ahead.take().and_then(|ahead| ahead.claim)
            && let Err(down) = self.deduped.claims.release(&claim).await
        {
            tracing::debug!(listener = %self.work.id, error = %Chain(&down), "a claim was left to its lease");
        }
    }

    fn claim_of(&self, record: &Record) -> Option<Claim> {
        self.deduped.claim_of(self.work, record)
    }

    /// Whether the listener handles records while what remembers ids is down.
    fn goes_on(&self, down: &Down, record: &Record) -> bool {
        let goes_on = self.deduped.on_outage == OnOutage::Process && down.is_outage();
        if goes_on {
            self.work.counts.undeduped.one();
            tracing::debug!(
                listener = %self.work.id, topic = record.topic(), partition = record.partition(), offset = record.offset(),
                error = %Chain(down), "{} is down, and the listener goes on without it", self.deduped.claims.medium()
            );
        }
        goes_on
    }

    /// Waits for what remembers ids; revocation ends the wait.
    async fn outage(&mut self, place: &Place, down: &Down) -> Result<(), Halt> {
        let work = self.work;
        self.down = true;
        if !down.is_outage() {
            tracing::error!(
                listener = %work.id, topic = %place.topic, partition = place.partition, error = %Chain(down),
                "an id can neither be claimed nor marked, and waiting alone will not mend that"
            );
        }
        work.outage.found(&work.id, place, &work.retry, down);
        if work.outage.waited_out(place, &work.retry).await { Ok(()) } else { Err(Halt::Revoked) }
    }

    /// It has answered.
    fn is_back(&mut self) {
        if std::mem::take(&mut self.down) {
            self.work.outage.over(&self.work.id);
        }
    }

    fn say_that_it_waits(&self, place: &Place, record: &Record, waits: u32) {
        if waits == 0 {
            tracing::info!(
                listener = %self.work.id, topic = %place.topic, partition = place.partition, offset = record.offset(),
                "another has claimed this record's id; its partition waits until that one is done, or its lease has run out"
            );
        }
    }

    fn say_what_was_found(&self, found: Marked, record: &Record) {
        let what = match found {
            Marked::Ours => return,
            Marked::Forgotten => format!(
                "{} had forgotten its claim, so that a duplicate may have been handled meanwhile",
                self.deduped.claims.medium()
            ),
            Marked::Anothers => "another has claimed it meanwhile, and handles it as well".to_owned(),
            Marked::Done => "another had claimed it meanwhile, and has handled it as well".to_owned(),
        };
        self.work.counts.claims_lost.one();
        tracing::warn!(
            listener = %self.work.id, topic = record.topic(), partition = record.partition(), offset = record.offset(),
            "a record was handled, and {what}"
        );
    }
}
