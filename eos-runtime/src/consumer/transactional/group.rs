//! Many records in one transaction: as many as are queued, never waiting for more.
//!
//! A group is an optimist: it counts nothing and knows no second try. Whatever goes wrong with it, a handler's error, a
//! lock, an outage, it is rolled back, and its records are handled one by one, so that a record that is to blame is alone
//! when it is tried again, counted or set aside. For the same reason a partition that was just taken begins one by one, for
//! as many records as a group may have: one of them may have ended the process of the owner before.
//!
//! Within a group the first record of an id is handled, and any other of the same id is a duplicate.

use std::time::Instant;

use super::{Step, Try, Turn, Worker};
use crate::consumer::failure::{Chain, Failure};
use crate::consumer::invoke::invoke;
use crate::consumer::message_id::InboxId;
use crate::fault;
use crate::record::Record;
use crate::store::{ClaimedGroup, CommitFailed, Dialect, GroupClaim, Open, Rest};

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
    pub(super) fn gather(&mut self, first: Record) -> Result<Group, Record> {
        if self.work.group_commit < 2 || self.one_by_one > 0 || self.work.outage.is_on() {
            return Err(first);
        }
        let Some(second) = self.queue.try_next() else { return Err(first) };
        let mut tries = Vec::with_capacity(self.work.group_commit.min(256) as usize);
        let mut records = 2;
        tries.extend([first, second].map(|record| Try::new(self.work, record, 1)));
        while records < self.work.group_commit
            && let Some(record) = self.queue.try_next()
        {
            tries.push(Try::new(self.work, record, 1));
            records += 1;
        }
        Ok(Group::of(tries))
    }

    pub(super) async fn group(&mut self, rest: Rest<D>, group: Group) -> Step<D> {
        self.watch.busy();
        let revoked = self.queue.lease.revoked.clone();
        if revoked.is_cancelled() {
            rest.into_hold().await;
            return Step::Leave(Turn::Revoked);
        }
        if self.seat.is_none() {
            self.seat = tokio::select! {
                biased;
                () = revoked.cancelled() => return Step::Leave(Turn::Revoked),
                seat = self.bound.seats.take() => Some(seat),
            };
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
        let began = Instant::now();
        let handled = group.handled(seen);
        for (a_try, _) in group.tries.iter().zip(&handled).filter(|(_, handled)| **handled == Handled::Ran) {
            let outcome = {
                let delivery = self.work.delivery(&a_try.record, 1);
                let left = self.work.deadline.saturating_sub(began.elapsed());
                invoke((self.handler)(open.tx_to_handle(&a_try.record), &delivery), left).await
            };
            if let Err(failure) = outcome {
                let rest = match &failure {
                    Failure::Overran(_) => Rest::Hold(open.abandon().await),
                    _ if self.is_outage_of_the_database(&failure) => Rest::Hold(open.discard()),
                    _ => open.rollback().await,
                };
                return self.ungroup(&failure, rest, group);
            }
        }
        fault::point("after_group");
        match open.commit().await {
            Ok(session) => {
                for (a_try, handled) in group.tries.iter().zip(handled) {
                    self.committed(handled.into(), a_try);
                }
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
            records = group.tries.len(), error = %Chain(why), "a group was rolled back; its records go one by one"
        );
        self.one_by_one = self.one_by_one.max(u32::try_from(group.tries.len()).unwrap_or(u32::MAX));
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
