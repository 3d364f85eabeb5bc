//! Many records in one transaction: as many as are queued, never waiting for more.
//!
//! A group is an optimist: it counts nothing and knows no second try. Whatever goes wrong with it, a handler's error, a
//! lock, an outage, it is rolled back, and its records go by halves, and their halves, until one that is to blame is alone:
//! then it is tried again, counted or set aside like any other. Groups grow again behind it.
//!
//! A record may also end the process. The first group after a take is noted in the position's row; who finds such a note,
//! or a counted attempt, when it takes the partition, begins one by one, for as many records as a group may have.
//!
//! Within a group the first record of an id is handled, and any other of the same id is a duplicate.

use std::time::Instant;

use super::{Step, Try, Turn, Worker};
use crate::consumer::failure::{Chain, Failure};
use crate::consumer::invoke::{Allowance, handle};
use crate::consumer::message_id::InboxId;
use crate::extract::Delivery;
use crate::fault;
use crate::listener::spec::Handler;
use crate::record::Record;
use crate::store::{Begun, ClaimedGroup, CommitFailed, Dialect, GroupClaim, Open, Rest};

/// Records of one transaction, in their order; two at least.
pub(super) struct Group {
    tries: Vec<Try>,
    /// Sorted, each once.
    ids: Vec<InboxId>,
}

/// What became of a group's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    Ran,
    Duplicate,
}

impl Group {
    fn of(tries: Vec<Try>) -> Self {
        let mut ids: Vec<InboxId> = tries.iter().filter_map(|a_try| a_try.id).collect();
        ids.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        ids.dedup();
        Group { tries, ids }
    }

    /// What is to be done with each record, where these ids had been seen before.
    fn handled(&self, seen: &[Vec<u8>]) -> Vec<Handled> {
        let place = |id: &[u8]| self.ids.binary_search_by(|known| known.as_bytes().cmp(id)).ok();
        let mut done = vec![false; self.ids.len()];
        seen.iter().filter_map(|id| place(id)).for_each(|at| done[at] = true);
        let handled = |a_try: &Try| match a_try.message_id().and_then(place) {
            Some(at) if std::mem::replace(&mut done[at], true) => Handled::Duplicate,
            Some(_) | None => Handled::Ran,
        };
        self.tries.iter().map(handled).collect()
    }
}

impl<D: Dialect> Worker<'_, D> {
    /// The record with what is queued behind it, where a group may begin here.
    pub(super) async fn gather(&mut self, first: Record) -> Result<Group, Record> {
        let at_most = self.group_at_most as usize;
        if at_most < 2 || self.counted > 1 || self.work.outage.is_on() || !self.deed(&first).is_to_handle() {
            return Err(first);
        }
        let waits_until = Instant::now() + self.work.max_wait;
        let mut records = vec![first];
        while records.len() < at_most {
            let queued = match self.backlog.pop_front().or_else(|| self.queue.try_next()) {
                Some(record) => Some(record),
                None => self.queued_by(waits_until).await,
            };
            match queued {
                // It goes alone.
                Some(record) if !self.deed(&record).is_to_handle() => {
                    self.backlog.push_front(record);
                    break;
                }
                Some(record) => records.push(record),
                None => break,
            }
        }
        if records.len() == 1 {
            return Err(records.remove(0));
        }
        Ok(Group::of(records.into_iter().map(|record| Try::new(self.work, record, 1)).collect()))
    }

    /// A record that comes in time.
    async fn queued_by(&mut self, time: Instant) -> Option<Record> {
        let left = time.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let revoked = self.queue.lease.revoked.clone();
        tokio::select! {
            biased;
            () = revoked.cancelled() => None,
            () = self.bound.seats.wanted(), if self.seat.is_some() => None,
            record = tokio::time::timeout(left, self.queue.next()) => record.ok().flatten(),
        }
    }

    /// Groups may grow again behind one that failed.
    pub(super) fn group_went_well(&mut self) {
        self.group_at_most = self.group_at_most.saturating_mul(2).min(self.group_ceiling);
    }

    pub(super) async fn group(&mut self, mut rest: Rest<D>, group: Group) -> Step<D> {
        self.watch.busy();
        if self.queue.lease.revoked.is_cancelled() {
            rest.into_hold().await;
            return Step::Leave(Turn::Revoked);
        }
        if !self.take_seat().await {
            return Step::Leave(Turn::Revoked);
        }
        if self.counted > 0 && rest.hold().begun != Begun::Group {
            match rest.note_begun(&self.bound.store, self.work.options(), Begun::Group).await {
                Ok(true) => fault::point("after_group_count"),
                Ok(false) => return Step::Leave(Turn::NotOurs(rest.into_hold().await)),
                Err(error) => return self.ungroup(&error, rest, group),
            }
        }
        let session = match rest.reopen(&self.bound.store, self.work.options()).await {
            Ok(session) => session,
            Err((error, hold)) => return self.ungroup(&error, Rest::Hold(hold), group),
        };
        fault::point("before_group_claim");
        let claimed = {
            let ids: Vec<&[u8]> = group.ids.iter().map(InboxId::as_bytes).collect();
            let last = group.tries[group.tries.len() - 1].record.as_last();
            session.begin_group(GroupClaim { last, ids: &ids }).await
        };
        match claimed {
            Ok(ClaimedGroup::Open(open, seen)) => self.handle_group(open, group, &seen).await,
            Ok(ClaimedGroup::NotOurs(rest)) => Step::Leave(Turn::NotOurs(rest.into_hold().await)),
            Err((error, rest)) => self.ungroup(&error, rest, group),
        }
    }

    async fn handle_group(&mut self, mut open: Open<D>, group: Group, seen: &[Vec<u8>]) -> Step<D> {
        let handled = group.handled(seen);
        let fresh = group.tries.iter().zip(&handled).filter(|(_, handled)| **handled == Handled::Ran);
        let fresh: Vec<Delivery<'_>> = fresh.map(|(a_try, _)| self.work.delivery(&a_try.record, 1)).collect();
        let at_once = match self.handler {
            Handler::One(_) => 1,
            Handler::Batch(_) => fresh.len().max(1),
        };
        // Together they have as long as one.
        let allowance = Allowance::from_now(self.work.deadline);
        for deliveries in fresh.chunks(at_once) {
            self.work.counts.begun.one();
            let outcome = {
                let _running = self.running.begin(deliveries[0].record().offset());
                handle(self.work, self.handler, &mut open, deliveries, allowance).await
            };
            if let Err(failure) = outcome {
                if matches!(failure, Failure::Overran(_)) {
                    self.group_ceiling = u32::try_from(group.tries.len() / 2).unwrap_or(1).max(1);
                }
                let rest = self.undo(open, &failure).await;
                return self.ungroup(&failure, rest, group);
            }
        }
        fault::point("after_group");
        match open.commit().await {
            Ok(session) => {
                for (a_try, handled) in group.tries.iter().zip(handled) {
                    self.committed(handled.into(), a_try);
                }
                self.group_went_well();
                Step::Wait(Rest::Session(session))
            }
            Err((CommitFailed::InDoubt(error), _)) => Step::Leave(Turn::InDoubt(error)),
            Err((CommitFailed::RolledBack(error), rest)) => {
                self.ungroup(&Failure::Commit(error), rest, group)
            }
            Err((CommitFailed::Strayed(error), rest)) => {
                rest.into_hold().await;
                let offset = group.tries.first().map(|a_try| a_try.record.offset());
                Step::Leave(Turn::Stop { offset, why: Failure::Strayed(error).into() })
            }
        }
    }

    /// Nothing of the group was committed: its records go one by one.
    fn ungroup(&mut self, why: &(dyn std::error::Error + 'static), rest: Rest<D>, group: Group) -> Step<D> {
        tracing::debug!(
            listener = %self.work.id, topic = %self.queue.lease.topic, partition = self.queue.lease.partition,
            records = group.tries.len(), error = %Chain(why), "a group was rolled back; its records go by halves"
        );
        self.group_at_most = u32::try_from(group.tries.len() / 2).unwrap_or(1).max(1);
        for a_try in group.tries.into_iter().rev() {
            self.backlog.push_front(a_try.record);
        }
        Step::Wait(rest)
    }
}

impl From<Handled> for super::attempt::Handled {
    fn from(handled: Handled) -> Self {
        match handled {
            Handled::Ran => super::attempt::Handled::Ran,
            Handled::Duplicate => super::attempt::Handled::Duplicate,
        }
    }
}
