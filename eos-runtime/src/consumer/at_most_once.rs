//! An at-most-once listener's partition: the offset is committed before the body, and nothing is tried again.
//!
//! The group's answer to the commit comes first: only then are the records in hand nobody else's, whatever becomes of us. Those
//! that are queued are committed together, up to so many, so that an answer is not waited for before each of them. What is
//! committed and not begun when the process dies is lost; that is the promise.

use std::sync::Arc;

use super::failure::Chain;
use super::invoke::invoke;
use super::log::Fate;
use super::owner::Halt;
use super::plain::{NO_START, where_to};
use super::queue::Queue;
use super::span;
use super::trouble::{Trouble, unless_revoked};
use super::work::Work;
use crate::listener::spec::PlainHandler;
use crate::record::Record;
use crate::source::{Lease, SourceError};

/// Works on a lease until it is revoked; so many records are committed at once at the most.
pub(crate) async fn run(lease: Lease, work: Arc<Work>, at_once: u32, handler: PlainHandler) {
    let mut queue = Queue::new(lease, &work.board);
    loop {
        if begin(&work, &mut queue).await.is_err() {
            return;
        }
        if until_lost(&work, &mut queue, at_once, handler).await.is_err() {
            return;
        }
    }
}

/// Starts reading where the group has committed.
async fn begin(work: &Work, queue: &mut Queue) -> Result<(), Halt> {
    let revoked = queue.lease.revoked.clone();
    let mut trouble = Trouble::default();
    loop {
        let began = unless_revoked(&revoked, try_begin(work, queue)).await.map(Some);
        if trouble.after(work, &queue.lease, NO_START, began).await?.is_some() {
            work.counts.taken.one();
            queue.post.is_well();
            return Ok(());
        }
    }
}

async fn try_begin(work: &Work, queue: &mut Queue) -> Result<(), SourceError> {
    let offset = where_to(work, &queue.lease, work.start).await?.offset;
    queue.seek(offset).await
}

/// Until it has to be found out anew where to go on.
async fn until_lost(work: &Work, queue: &mut Queue, at_once: u32, handler: PlainHandler) -> Result<(), Halt> {
    let revoked = queue.lease.revoked.clone();
    let suspicion = queue.lease.suspicion();
    let running = work.watchdog.watch(work, &queue.lease.topic, queue.lease.partition);
    loop {
        let first = tokio::select! {
            biased;
            () = revoked.cancelled() => return Err(Halt::Revoked),
            () = suspicion.notified() => return Ok(()),
            record = queue.next() => record.ok_or(Halt::Revoked)?,
        };
        let mut records = vec![first];
        while records.len() < at_once as usize
            && let Some(record) = queue.try_next()
        {
            records.push(record);
        }
        let next = records.last().map_or(0, |last| last.offset() + 1);
        if !is_ours(work, &queue.lease, next).await? {
            return Ok(());
        }
        queue.lease.progress().moved_to(next);
        crate::fault::point("at_most_once_after_commit");
        // Nobody else will have them: they are gone through also where the partition is revoked meanwhile.
        for record in &records {
            handle(work, &running, handler, record).await;
        }
        queue.post.is_well();
    }
}

/// Commits up to there, as the member that has the partition; `false` where the group does not take it so.
async fn is_ours(work: &Work, lease: &Lease, next: i64) -> Result<bool, Halt> {
    let mut trouble = Trouble::default();
    loop {
        let answer = unless_revoked(&lease.revoked, lease.confirm(next)).await.map(Some);
        let what = "offsets cannot be committed, and nothing is handled before";
        if let Some(is_ours) = trouble.after(work, lease, what, answer).await? {
            return Ok(is_ours);
        }
    }
}

/// Runs the body once; a failure is said and counted.
async fn handle(work: &Work, running: &super::watchdog::Running, handler: PlainHandler, record: &Record) {
    let delivery = work.delivery(record, 1);
    work.counts.begun.one();
    let outcome = {
        let running = running.begin(record.offset());
        let span = span::of(work, std::slice::from_ref(&delivery));
        invoke(handler(&delivery), running.allowance(work.deadline), span).await
    };
    match outcome {
        Ok(()) => work.counts.applied.one(),
        Err(failure) => {
            work.counts.failed.one();
            work.say(record, 1, &Chain(&failure).to_string(), Fate::Lost);
        }
    }
}
