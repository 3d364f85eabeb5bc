//! A group member: how it is started, asked and stopped.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, ConsumerGroupMetadata};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{ClientOptions, ConsumerOptions};
use super::cluster::{ANSWER, Cluster};
use super::commits::{Answer, OURS};
use super::context::Context;
use super::failure::KafkaFailure;
use super::partitions::{Member, panicked};
use super::poll::Poller;
use super::pulse::Pulse;
use crate::source::{CommittedInKafka, Lease, LeaseId, Requests, SourceError, Watermarks};

/// Starts a worker on a lease; called on the poll thread, within the runtime. The worker is joined by the consumer.
pub(crate) type OnLease = Box<dyn Fn(Lease) -> JoinHandle<()> + Send + Sync>;

/// A running group member. Dropping it stops it without waiting.
#[derive(Debug)]
pub(crate) struct Consumer {
    desk: Arc<Desk>,
    ended: Option<oneshot::Receiver<Result<(), KafkaFailure>>>,
}

/// Who a member is in its group.
#[derive(Debug, Clone)]
pub(crate) struct Membership(Arc<Desk>);

impl Membership {
    /// As it takes itself to be; blocks for a moment.
    pub(super) fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.0.member.get()?.upgrade()?.group_metadata()
    }
}

/// What the poll thread is told.
pub(super) enum Command {
    Seek { lease: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>> },
    Confirm { lease: LeaseId, offset: i64, reply: oneshot::Sender<Result<bool, SourceError>> },
    Committed(Answer),
    Stop { within: Duration },
}

/// Where everybody else leaves their requests for the poll thread.
pub(super) struct Desk {
    commands: mpsc::Sender<Command>,
    thread: OnceLock<Thread>,
    /// For the questions that librdkafka answers by blocking; those are asked on the runtime's blocking threads.
    member: OnceLock<Weak<Member>>,
    runtime: Handle,
    pub(super) cluster: Cluster,
    pub(super) pulse: Arc<Pulse>,
}

impl Consumer {
    /// Starts a member of a group; must be called within a tokio runtime.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings. Brokers that cannot be reached are no error here.
    pub(crate) fn start(
        client: &ClientOptions,
        options: ConsumerOptions,
        cluster: Cluster,
        on_lease: OnLease,
    ) -> Result<Consumer, KafkaFailure> {
        let mut member: Member = client.member(&options.group).create_with_context(Context::default())?;
        let (commands, inbox) = mpsc::channel();
        let runtime = Handle::current();
        let desk = Arc::new(Desk {
            commands,
            thread: OnceLock::new(),
            member: OnceLock::new(),
            runtime,
            cluster,
            pulse: Arc::default(),
        });
        let woken = Arc::clone(&desk);
        member.set_nonempty_callback(move || woken.wake());
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        member.subscribe(&topics)?;
        desk.cluster.look_for_topics(&options);

        let (end, ended) = oneshot::channel();
        let thread_desk = Arc::clone(&desk);
        let name = format!("eos-poll-{}", options.group);
        let body = move || {
            let outcome = poll(member, inbox, thread_desk, options, on_lease);
            drop(end.send(outcome)); // nobody waits when the process is ending anyway
        };
        thread::Builder::new()
            .name(name)
            .spawn(body)
            .map_err(|error| KafkaFailure::client(format!("no thread for it: {error}")))?;
        Ok(Consumer { desk, ended: Some(ended) })
    }

    /// Begins to stop: workers finish their attempt in flight (`within` at most), offsets are committed, the member
    /// leaves its group. [`ended`](Self::ended) tells when.
    pub(crate) fn stop(&self, within: Duration) {
        self.desk.tell(Command::Stop { within });
    }

    /// Whether its thread turns.
    #[cfg(any(feature = "admin", test))]
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.desk.pulse)
    }

    /// Who it is in its group, for whoever speaks on its behalf.
    pub(crate) fn membership(&self) -> Membership {
        Membership(Arc::clone(&self.desk))
    }

    /// Waits until the member has ended, for whatever reason.
    ///
    /// # Errors
    /// Why it could not go on, when it was not stopped.
    ///
    /// # Cancel safety
    /// Cancel safe. Asked again after the end, it answers `Ok`.
    pub(crate) async fn ended(&mut self) -> Result<(), KafkaFailure> {
        let Some(ended) = &mut self.ended else { return Ok(()) };
        let outcome = ended.await.unwrap_or(Ok(()));
        self.ended = None;
        outcome
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// The life of the poll thread.
fn poll(
    member: Member,
    inbox: mpsc::Receiver<Command>,
    desk: Arc<Desk>,
    options: ConsumerOptions,
    on_lease: OnLease,
) -> Result<(), KafkaFailure> {
    let _runtime = desk.runtime.clone();
    let _entered = _runtime.enter();
    let member = Arc::new(member);
    let group = options.group.clone();
    desk.thread.get_or_init(thread::current);
    desk.member.get_or_init(|| Arc::downgrade(&member));
    let mut poller = Poller::new(member, inbox, desk, options, on_lease)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| poller.run()));
    poller.close();
    outcome.unwrap_or_else(|panic| Err(panicked(&group, &*panic)))
}

impl Desk {
    pub(super) fn tell(&self, command: Command) {
        // Nobody is there any more once the member has ended; the reply is dropped, which says `Revoked`.
        drop(self.commands.send(command));
        self.wake();
    }
}

impl Requests for Desk {
    fn watermarks(
        &self,
        topic: &Arc<str>,
        partition: i32,
        reply: oneshot::Sender<Result<Watermarks, SourceError>>,
    ) {
        let (cluster, topic) = (self.cluster.clone(), Arc::clone(topic));
        self.runtime.spawn(async move { reply.send(cluster.watermarks(&topic, partition).await) });
    }

    fn partitions(&self, topic: &Arc<str>, reply: oneshot::Sender<Result<i32, SourceError>>) {
        let (cluster, topic) = (self.cluster.clone(), Arc::clone(topic));
        self.runtime.spawn(async move {
            let partitions = cluster.partitions(&topic).await;
            let missing = || SourceError::Broker("there is no such topic".into());
            reply.send(partitions.and_then(|found| found.ok_or_else(missing)))
        });
    }

    fn seek(&self, lease: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>>) {
        self.tell(Command::Seek { lease, offset, seek, reply });
    }

    fn confirm(&self, lease: LeaseId, offset: i64, reply: oneshot::Sender<Result<bool, SourceError>>) {
        if offset >= 0 {
            return self.tell(Command::Confirm { lease, offset, reply });
        }
        // The commit must change nothing: it repeats what the group has.
        let member = self.member.get().cloned().unwrap_or_default();
        let (commands, thread) = (self.commands.clone(), self.thread.get().cloned());
        self.runtime.spawn_blocking(move || match committed(&member, &lease) {
            Ok(known) => {
                let offset = known.map_or(0, |committed| committed.offset);
                drop(commands.send(Command::Confirm { lease, offset, reply }));
                thread.inspect(Thread::unpark);
            }
            Err(error) => drop(reply.send(Err(error))),
        });
    }

    fn committed(
        &self,
        lease: LeaseId,
        reply: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>,
    ) {
        let member = self.member.get().cloned().unwrap_or_default();
        self.runtime.spawn_blocking(move || reply.send(committed(&member, &lease)));
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Asks the group's coordinator; blocks.
fn committed(member: &Weak<Member>, lease: &LeaseId) -> Result<Option<CommittedInKafka>, SourceError> {
    let member = member.upgrade().ok_or(SourceError::Revoked)?;
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(&lease.topic, lease.partition);
    let list = member.committed_offsets(list, ANSWER).map_err(|error| SourceError::Broker(error.into()))?;
    let element = list.elements().into_iter().next();
    let element = element.ok_or_else(|| SourceError::Broker("an empty answer".into()))?;
    element.error().map_err(|error| SourceError::Broker(error.into()))?;
    match element.offset() {
        Offset::Offset(offset) => Ok(Some(CommittedInKafka { offset, ours: is_ours(&element) })),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
            Ok(None)
        }
    }
}

/// rdkafka panics where the metadata, any client's free text, is not UTF-8; then it is not ours.
fn is_ours(element: &TopicPartitionListElem<'_>) -> bool {
    catch_unwind(AssertUnwindSafe(|| element.metadata() == OURS)).unwrap_or(false)
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("thread", &self.thread).finish_non_exhaustive()
    }
}
