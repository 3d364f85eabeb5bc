//! Offsets follow the database: Kafka is told now and then what was committed there, for lag and for tools.
//!
//! Before each, the coordinator is asked for what it had acknowledged. It forgets a partition's offset when the topic
//! is deleted, and librdkafka goes on in a topic made anew under the same name as if nothing had happened
//! (`rd_kafka_topic_metadata_update` in 2.12 says so itself): a partition that was forgotten is orphaned.
//!
//! One commit is under way at a time, so that an answer belongs to a question: an accepted one proves that this
//! member held its partitions in a valid generation after it was asked, which is what a `confirm` wants to know.
//!
//! rdkafka 0.39 never reports what became of an asynchronous commit (it asks librdkafka for the event, which comes
//! only where a callback is set). A synchronous one answers, but waits for the coordinator as long as that takes: it
//! has a thread of its own, the clerk's, which holds up neither polling nor the process's end.

use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;

use super::cluster::ANSWER;
use super::consumer::{Command, Desk};
use super::failure::KafkaFailure;
use super::partitions::{Member, Partitions};
use crate::source::{LeaseId, SourceError};

/// Goes with every offset of ours, so that one which somebody set with Kafka's tools can be told apart.
pub(super) const OURS: &str = "eos";
/// How long a confirmation may take.
const CONFIRM: Duration = Duration::from_secs(10);

/// The group's ways of saying that this member's generation is over, or about to be.
const NO_LONGER: [Code; 8] = [
    Code::IllegalGeneration,
    Code::UnknownMemberId,
    Code::RebalanceInProgress,
    Code::StaleMemberEpoch,
    Code::FencedMemberEpoch,
    Code::FencedInstanceId,
    Code::UnreleasedInstanceId,
    Code::AssignmentLost,
];

/// The commits of one member.
pub(super) struct Commits {
    every: Duration,
    due: Instant,
    clerk: mpsc::Sender<Errand>,
    /// Those who wait for the errand's answer, while it is under way.
    under_way: Option<Vec<Confirm>>,
    confirms: Vec<Confirm>,
    /// Whether the last one failed; said once.
    failing: bool,
}

/// What the clerk is to do.
struct Errand {
    /// Partitions of which Kafka has acknowledged an offset; it should still know them.
    known: Vec<LeaseId>,
    /// Offsets to commit.
    offsets: Offsets,
}

type Offsets = Vec<(LeaseId, i64)>;

/// What the clerk brings back.
pub(super) struct Answer {
    /// What became of the commit.
    result: Result<(), Code>,
    /// What was to be committed, without what was forgotten.
    offsets: Offsets,
    /// Partitions that the group does not know any more; nothing was committed for them.
    forgotten: Vec<LeaseId>,
}

/// A worker that asks whether it still holds its partition.
struct Confirm {
    lease: LeaseId,
    offset: i64,
    until: Instant,
    reply: oneshot::Sender<Result<bool, SourceError>>,
}

impl Commits {
    /// Starts the clerk; it ends with the commits.
    pub(super) fn start(
        every: Duration,
        member: &Arc<Member>,
        desk: &Arc<Desk>,
    ) -> Result<Self, KafkaFailure> {
        let (clerk, todo) = mpsc::channel();
        let (member, desk) = (Arc::downgrade(member), Arc::clone(desk));
        thread::Builder::new()
            .name("eos-commit".to_owned())
            .spawn(move || commit_all(&todo, &member, &desk))
            .map_err(|error| KafkaFailure::client(format!("no thread for its commits: {error}")))?;
        let due = Instant::now() + every;
        Ok(Commits { every, due, clerk, under_way: None, confirms: Vec::new(), failing: false })
    }

    /// Asks the group; `offset` is committed on the way.
    pub(super) fn confirm(
        &mut self,
        lease: LeaseId,
        offset: i64,
        reply: oneshot::Sender<Result<bool, SourceError>>,
    ) {
        self.confirms.push(Confirm { lease, offset, until: Instant::now() + CONFIRM, reply });
    }

    /// Sends what is due, if nothing is under way.
    pub(super) fn go_on(&mut self, partitions: &mut Partitions) {
        let now = Instant::now();
        self.expire(now, partitions);
        let periodic = now >= self.due;
        let asked = !self.confirms.is_empty();
        if self.under_way.is_some() || !(periodic || asked || partitions.is_in_a_hurry()) {
            return;
        }
        let confirms = std::mem::take(&mut self.confirms);
        // A confirmation travels alone: another partition's error would leave its answer unclear.
        let offsets = if asked { wanted(&confirms) } else { untold(partitions) };
        // A confirmation looks for itself: whoever asks has asked for the offset before.
        let known = if asked { Vec::new() } else { known(partitions, periodic) };
        if !asked {
            self.due = now + self.every;
        }
        let errand = Errand { known, offsets };
        if !errand.is_empty() && self.clerk.send(errand).is_ok() {
            self.under_way = Some(confirms);
        }
    }

    /// Takes in an answer; whether the broker accepted the commit.
    pub(super) fn answered(&mut self, answer: Answer, partitions: &mut Partitions) -> bool {
        let Some(confirms) = self.under_way.take() else { return false };
        let Answer { result, offsets, forgotten } = answer;
        for slot in partitions.committing().filter(|slot| forgotten.iter().any(|lease| slot.is(lease))) {
            slot.delivering = None;
            slot.told = None;
            slot.source.shared.orphan();
        }
        match result {
            Ok(()) => {
                self.failing = false;
                for slot in partitions.committing() {
                    if let Some((_, offset)) = offsets.iter().find(|(lease, _)| slot.is(lease)) {
                        slot.told = Some(*offset);
                    }
                }
            }
            // A rebalance overtook it; whoever is given the partition tells Kafka.
            Err(code) if NO_LONGER.contains(&code) => {}
            Err(code) => self.complain(code),
        }
        for confirm in confirms {
            let held = partitions.find(&confirm.lease).is_some();
            tell(confirm.reply, standing(held, result));
        }
        result.is_ok()
    }

    fn expire(&mut self, now: Instant, partitions: &mut Partitions) {
        for confirms in self.under_way.iter_mut().chain([&mut self.confirms]) {
            for index in (0..confirms.len()).rev() {
                if partitions.find(&confirms[index].lease).is_none() {
                    confirms.swap_remove(index); // its reply is dropped, which says `Revoked`
                } else if now >= confirms[index].until {
                    tell(
                        confirms.swap_remove(index).reply,
                        Err(SourceError::Broker("no answer in time".into())),
                    );
                }
            }
        }
    }

    fn complain(&mut self, code: Code) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                target: "eos::kafka", %code,
                "offsets could not be committed to Kafka, and the next commit catches up; nothing is lost, and what has its position \
                 in a database is not affected"
            );
        }
    }
}

/// The clerk's life.
fn commit_all(todo: &mpsc::Receiver<Errand>, member: &Weak<Member>, desk: &Desk) {
    for errand in todo {
        let Some(member) = member.upgrade() else { return };
        let answer = errand.run(&member);
        drop(member);
        desk.tell(Command::Committed(answer));
    }
}

impl Errand {
    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.offsets.is_empty()
    }

    /// Looks, then commits; blocks.
    fn run(mut self, member: &Member) -> Answer {
        let mut forgotten = Vec::new();
        let result = self.look(member).and_then(|gone| {
            self.offsets.retain(|(lease, _)| !gone.contains(lease));
            forgotten = gone;
            if self.offsets.is_empty() {
                return Ok(());
            }
            member.commit(&list(&self.offsets)?, CommitMode::Sync)
        });
        let result = result.map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Unknown));
        Answer { result, offsets: self.offsets, forgotten }
    }

    /// Which of the known partitions the group has no offset of any more.
    fn look(&self, member: &Member) -> KafkaResult<Vec<LeaseId>> {
        if self.known.is_empty() {
            return Ok(Vec::new());
        }
        let mut list = TopicPartitionList::with_capacity(self.known.len());
        for lease in &self.known {
            list.add_partition(&lease.topic, lease.partition);
        }
        let found = member.committed_offsets(list, ANSWER)?;
        let forgotten = |lease: &&LeaseId| {
            let element = found.find_partition(&lease.topic, lease.partition);
            element.is_some_and(|element| element.error().is_ok() && element.offset() == Offset::Invalid)
        };
        Ok(self.known.iter().filter(forgotten).cloned().collect())
    }
}

fn wanted(confirms: &[Confirm]) -> Offsets {
    let mut offsets: Offsets = Vec::with_capacity(confirms.len());
    for confirm in confirms {
        if !offsets.iter().any(|(lease, _)| *lease == confirm.lease) {
            offsets.push((confirm.lease.clone(), confirm.offset));
        }
    }
    offsets
}

fn untold(partitions: &mut Partitions) -> Offsets {
    partitions.committing().filter_map(|slot| Some((slot.lease(), slot.untold()?))).collect()
}

/// Whose offsets Kafka has acknowledged: of all partitions, or of those that are about to be committed.
fn known(partitions: &mut Partitions, all: bool) -> Vec<LeaseId> {
    let known =
        partitions.committing().filter(|slot| slot.told.is_some() && (all || slot.untold().is_some()));
    known.map(|slot| slot.lease()).collect()
}

fn list(offsets: &[(LeaseId, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (lease, offset) in offsets {
        let mut element = list.add_partition(&lease.topic, lease.partition);
        element.set_offset(Offset::Offset(*offset))?;
        element.set_metadata(OURS);
    }
    Ok(list)
}

/// What an answer says about a partition that is (or is not) still assigned.
fn standing(held: bool, result: Result<(), Code>) -> Result<bool, SourceError> {
    match result {
        Ok(()) => Ok(held),
        Err(code) if NO_LONGER.contains(&code) => Ok(false),
        Err(code) => Err(SourceError::Broker(code.to_string().into())),
    }
}

fn tell(reply: oneshot::Sender<Result<bool, SourceError>>, answer: Result<bool, SourceError>) {
    // A worker that no longer listens has been revoked.
    drop(reply.send(answer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_accepted_commit_of_a_partition_still_held_confirms() {
        assert!(standing(true, Ok(())).expect("an answer"));
        assert!(!standing(false, Ok(())).expect("an answer"));
        assert!(!standing(true, Err(Code::IllegalGeneration)).expect("an answer"));
        assert!(standing(true, Err(Code::CoordinatorNotAvailable)).is_err());
    }
}
