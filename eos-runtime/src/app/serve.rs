//! What runs between start and stop: databases, then consumers; and the stop in the opposite order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, select_all, try_join_all};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::dedupe::deduped;
use super::look::look;
use super::open::{Caretaking, Opened, open};
use super::plan::Plan;
use super::relays::Relays;
use crate::consumer::{
    Board, Bound, Breaker, Log, Outage, Watchdog, Work, run_at_most_once, run_exactly_once, run_plain,
    run_transactional,
};
use crate::dead_letters::{Sender, as_output, publish};
use crate::embedded::{EmbeddedBroker, EmbeddedBrokerError};
use crate::error::Error;
use crate::kafka::{
    ClientOptions, Cluster, Consumer, ConsumerOptions, KafkaFailure, OnLease, Transactor, TransactorOptions,
};
use crate::listener::resolved::{Listener, Promise};
use crate::listener::spec::{Body, Dedupe, Handler, Isolation};
use crate::metrics::ListenerCounts;
use crate::settings::Bootstrap;
use crate::source::{Lease, LetterBox, Outflow, OutflowEnd};
use crate::store::{LetterDialect, StoreOptions, Tx};

/// How long the last transaction of a lane may take to end, when its workers have ended.
const LAST_TRANSACTION: Duration = Duration::from_secs(2);

/// What runs, for whoever looks at it.
#[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "nobody looks without the admin server"))]
pub(super) struct Runs<'r> {
    pub(super) plan: &'r Plan,
    pub(super) works: &'r [Arc<Work>],
    pub(super) databases: &'r [Opened],
    pub(super) consumers: &'r [Consumer],
    pub(super) cluster: &'r Cluster,
}

/// Runs the plan until `stop` is cancelled, and then to its ordered end.
///
/// # Cancel safety
/// Dropping it drops every task and connection: what was in flight is rolled back.
pub(super) async fn serve(
    plan: Plan,
    stop: CancellationToken,
    all_runs: impl FnOnce(Runs<'_>),
) -> Result<(), Error> {
    let tasks = TaskTracker::new();
    let care =
        Caretaking { tasks: &tasks, stop: stop.child_token(), retention: plan.settings.inbox.retention };
    let _ended_with_this = care.stop.clone().drop_guard();
    let broker = broker(&plan)?;
    let cluster = Cluster::new(&broker.client).map_err(|failure| kafka_error(&plan, failure))?;
    Relays::check(&plan, &broker.client).await.map_err(|failure| Error::Relay { source: failure.into() })?;
    let Some(opened) = stop.run_until_cancelled(start(&plan, &care, &cluster)).await else {
        cluster.close().await;
        return Ok(());
    };
    let opened = opened?;
    let letters = send_letters(&plan, &broker.client, &opened.databases, &care)?;
    let works = works(&plan, &opened.databases, opened.cluster_id.as_ref(), letters.as_ref());
    care.watch(look(works.clone(), cluster.clone()));
    let mut relays = Relays::start(&plan, &broker.client, &opened.databases);
    let started = consumers(&plan, &broker.client, &cluster, &works, &opened.databases);
    let (consumers, transactors, failed) = match started {
        Ok((mut consumers, mut transactors)) => {
            all_runs(Runs {
                plan: &plan,
                works: &works,
                databases: &opened.databases,
                consumers: &consumers,
                cluster: &cluster,
            });
            let failed = run_until_stopped(&mut consumers, &mut transactors, relays.as_mut(), &stop).await;
            (consumers, transactors, failed)
        }
        Err(failure) => (Vec::new(), Vec::new(), Err(failure)),
    };

    // In order: no new records, attempts in flight end, offsets are committed, what they published leaves, and then nothing
    // needs a database.
    end_consumers(consumers, most_of(plan.settings.shutdown.deadline)).await;
    join_all(transactors.into_iter().map(|transactor| transactor.ended(LAST_TRANSACTION))).await;
    if let Some(relays) = relays {
        relays.end().await;
    }
    care.stop.cancel();
    tasks.close();
    tasks.wait().await;
    join_all(opened.databases.iter().map(Opened::close)).await;
    cluster.close().await;
    works.iter().for_each(|work| say_counts(work));
    failed.map_err(|failure| kafka_error(&plan, failure))
}

/// What writes dead letters to topics, where a listener wants that: one sender, and for each of the databases what looks for
/// those in its table.
fn send_letters(
    plan: &Plan,
    client: &ClientOptions,
    databases: &[Opened],
    care: &Caretaking<'_>,
) -> Result<Option<LetterBox>, Error> {
    if plan.listeners.iter().all(|listener| listener.dead_letters.topic().is_none()) {
        return Ok(None);
    }
    let (letters, requests) = LetterBox::new();
    let sender = Sender::new(client).map_err(|failure| kafka_error(plan, failure))?;
    let mut publishing: Vec<BoxFuture<'static, ()>> = vec![Box::pin(sender.run(requests))];
    for database in databases {
        let letters = letters.clone();
        publishing.push(match database {
            #[cfg(feature = "postgres")]
            Opened::Postgres(bound) => Box::pin(publish(Arc::clone(&bound.store), letters)),
            #[cfg(feature = "mysql")]
            Opened::MySql(bound) => Box::pin(publish(Arc::clone(&bound.store), letters)),
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(bound) => Box::pin(publish(Arc::clone(&bound.store), letters)),
        });
    }
    care.watch(async move { drop(join_all(publishing).await) });
    Ok(Some(letters))
}

/// Where the brokers are, and the one in this process where that was asked for.
struct Broker {
    client: ClientOptions,
    _embedded: Option<EmbeddedBroker>,
}

fn broker(plan: &Plan) -> Result<Broker, Error> {
    let kafka = &plan.settings.kafka;
    let properties =
        kafka.properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (bootstrap_servers, embedded) = match &kafka.bootstrap {
        Bootstrap::Servers(servers) => (servers.clone(), None),
        Bootstrap::Embedded => {
            let embedded = embedded_broker(plan)
                .map_err(|error| Error::Kafka { group: group_names(plan), source: error.into() })?;
            (embedded.bootstrap_servers().to_owned(), Some(embedded))
        }
    };
    Ok(Broker { client: ClientOptions { bootstrap_servers, properties }, _embedded: embedded })
}

/// A broker in this process, with the topics that the listeners read: nobody else could make them.
fn embedded_broker(plan: &Plan) -> Result<EmbeddedBroker, EmbeddedBrokerError> {
    const PARTITIONS: u32 = 4;
    let broker = EmbeddedBroker::start()?;
    let of_listener = |listener: &Listener| {
        let dead = |topic: &Arc<str>| listener.dead_letters.topic().map(|dead| dead.of(topic));
        let own = listener.topics.iter().map(ToString::to_string);
        own.chain(listener.topics.iter().filter_map(dead)).collect::<Vec<_>>()
    };
    let topics: BTreeSet<String> = plan.listeners.iter().flat_map(of_listener).collect();
    topics.iter().try_for_each(|topic| broker.create_topic(topic, PARTITIONS))?;
    Ok(broker)
}

/// What has to be there before a consumer starts.
struct Started {
    databases: Vec<Opened>,
    cluster_id: Option<Arc<str>>,
}

/// Reaches databases and brokers, all at the same time.
async fn start(plan: &Plan, care: &Caretaking<'_>, cluster: &Cluster) -> Result<Started, Error> {
    let databases = try_join_all(plan.databases.iter().map(|planned| open(planned, care)));
    let brokers = async { cluster.connect().await.map_err(|failure| kafka_error(plan, failure)) };
    let (databases, ()) = tokio::try_join!(databases, brokers)?;
    Ok(Started { databases, cluster_id: cluster.cluster_id().await.map(Arc::from) })
}

/// What the workers of each listener share, in the plan's order.
pub(super) fn works(
    plan: &Plan,
    databases: &[Opened],
    cluster: Option<&Arc<str>>,
    letters: Option<&LetterBox>,
) -> Vec<Arc<Work>> {
    let settings = &plan.settings;
    let id_headers: Arc<[String]> = settings.inbox.id_headers.clone().into();
    let watchdog = Watchdog::start();
    let work = |listener: &Listener| {
        let mut work = Work {
            id: listener.id.into(),
            group: Arc::clone(&listener.group),
            deadline: listener.deadline,
            hands: listener.concurrency_per_partition,
            isolation: Isolation::default(),
            dedupe: Dedupe::Position,
            group_commit: 1,
            max_wait: Duration::ZERO,
            key_slots: 1,
            suspects: Arc::new(Semaphore::new(1)),
            take_on_every: Duration::MAX,
            deduped: deduped(listener, plan, databases),
            states: plan.states.clone(),
            id_headers: Arc::clone(&id_headers),
            classify: plan.classify.clone(),
            retry: listener.retry,
            on_failure: listener.on_failure,
            parked_at_most: settings.dead_letters.parked_at_most as usize,
            dead_letters: listener.dead_letters.clone(),
            letters: letters.cloned(),
            board: Arc::new(Board::of(listener.id)),
            breaker: Breaker::new(settings.dead_letters.breaker, settings.dead_letters.breaker_pace),
            outage: Outage::default(),
            watchdog: watchdog.clone(),
            log: Log::new(settings.log.keys, settings.retry.stopped_log_every),
            stopped_log_every: settings.retry.stopped_log_every,
            start: settings.kafka.start,
            on_gap: settings.kafka.on_retention_gap,
            cluster: cluster.cloned(),
            counts: ListenerCounts::of(listener.id),
        };
        if let Promise::Transactional {
            database,
            isolation,
            dedupe,
            group_commit,
            max_wait,
            key_slots,
            body: _,
        } = listener.promise
        {
            (work.isolation, work.dedupe) = (isolation, dedupe);
            (work.group_commit, work.max_wait) = (group_commit, max_wait);
            work.key_slots = i32::from(key_slots);
            work.take_on_every = plan.databases[database.0].verify_every;
        }
        Arc::new(work)
    };
    plan.listeners.iter().map(work).collect()
}

/// Starts every listener's consumers.
fn consumers(
    plan: &Plan,
    client: &ClientOptions,
    cluster: &Cluster,
    works: &[Arc<Work>],
    databases: &[Opened],
) -> Result<(Vec<Consumer>, Vec<Transactor>), KafkaFailure> {
    let (mut consumers, mut transactors) = (Vec::new(), Vec::new());
    for (listener, work) in plan.listeners.iter().zip(works) {
        for member in 0..listener.concurrency {
            let options = ConsumerOptions {
                group: listener.group.to_string(),
                topics: listener.topics.iter().map(ToString::to_string).collect(),
                listener: listener.id.to_owned(),
                commit_interval: plan.settings.kafka.commit_interval,
                deadline: listener.deadline + StoreOptions::MARGIN,
            };
            let lane = lane(listener, plan.settings.kafka.instance.as_deref(), member);
            let outflow = lane.as_ref().map(|(_, outflow, _)| outflow.clone());
            let on_lease = on_lease(listener, work, databases, outflow);
            let consumer = Consumer::start(client, options, cluster.clone(), on_lease)?;
            if let Some((options, _, end)) = lane {
                transactors.push(Transactor::start(client, options, consumer.membership(), end)?);
            }
            consumers.push(consumer);
        }
    }
    Ok((consumers, transactors))
}

/// What a member needs to write in transactions, where its listener does: one lane for all its partitions.
fn lane(
    listener: &Listener,
    instance: Option<&str>,
    member: u16,
) -> Option<(TransactorOptions, Outflow, OutflowEnd)> {
    const PORTION: u32 = 256;
    let Promise::ExactlyOnce { commit_interval, commit_records, .. } = listener.promise else { return None };
    let options = TransactorOptions {
        group: listener.group.to_string(),
        listener: listener.id.to_owned(),
        transactional_id: transactional_id(&listener.group, &listener.topics, instance, member),
        is_named: instance.is_some(),
        commit_interval,
        commit_records,
    };
    let (outflow, end) = Outflow::new(commit_records.min(PORTION), as_output);
    Some((options, outflow, end))
}

/// What a member writes under. Slashes part it, which no topic's name has: two listeners never have the same.
fn transactional_id(group: &str, topics: &[Arc<str>], instance: Option<&str>, member: u16) -> String {
    let name = match instance {
        // The next of this name ends at once what this one may leave open.
        Some(instance) => format!("{instance}/{member}"),
        // Whoever comes after is told by the group where to go on.
        None => Uuid::new_v4().to_string(),
    };
    format!("eos.{group}/{}/{name}", topics.join(","))
}

/// What happens to a partition that was assigned: a worker of the listener's kind.
fn on_lease(
    listener: &Listener,
    work: &Arc<Work>,
    databases: &[Opened],
    outflow: Option<Outflow>,
) -> OnLease {
    let work = Arc::clone(work);
    match &listener.promise {
        Promise::AtMostOnce(at_once, handler) => {
            let (at_once, handler) = (*at_once, *handler);
            Box::new(move |lease| tokio::spawn(run_at_most_once(lease, Arc::clone(&work), at_once, handler)))
        }
        Promise::ExactlyOnce { message_id, handler, .. } => {
            let (message_id, handler) = (*message_id, *handler);
            let Some(outflow) = outflow else { unreachable!("such a listener has a lane") };
            Box::new(move |lease| {
                tokio::spawn(run_exactly_once(lease, Arc::clone(&work), outflow.clone(), message_id, handler))
            })
        }
        Promise::Plain(handler) | Promise::Idempotent(handler, _) => {
            let handler = *handler;
            Box::new(move |lease| tokio::spawn(run_plain(lease, Arc::clone(&work), handler)))
        }
        Promise::Transactional { database, body, .. } => match (&databases[database.0], *body) {
            #[cfg(feature = "postgres")]
            (Opened::Postgres(bound), Body::Postgres(handler)) => transactional(work, bound.clone(), handler),
            #[cfg(feature = "mysql")]
            (Opened::MySql(bound), Body::MySql(handler)) => transactional(work, bound.clone(), handler),
            #[cfg(feature = "sqlite")]
            (Opened::Sqlite(bound), Body::Sqlite(handler)) => transactional(work, bound.clone(), handler),
            (opened, body) => unreachable!("the plan matched {body:?} with {opened:?}"),
        },
    }
}

fn transactional<D: LetterDialect>(work: Arc<Work>, bound: Bound<D>, handler: Handler<Tx<D>>) -> OnLease {
    Box::new(move |lease: Lease| -> JoinHandle<()> {
        tokio::spawn(run_transactional(lease, Arc::clone(&work), bound.clone(), handler))
    })
}

/// Waits for the stop, or for a consumer that cannot go on.
async fn run_until_stopped(
    consumers: &mut [Consumer],
    transactors: &mut [Transactor],
    relays: Option<&mut Relays>,
    stop: &CancellationToken,
) -> Result<(), KafkaFailure> {
    let consumers = async {
        if consumers.is_empty() {
            return std::future::pending().await;
        }
        select_all(consumers.iter_mut().map(|consumer| Box::pin(consumer.ended()))).await.0
    };
    let transactors = async {
        if transactors.is_empty() {
            return std::future::pending().await;
        }
        select_all(transactors.iter_mut().map(|transactor| Box::pin(transactor.failed()))).await.0
    };
    let relays = async {
        match relays {
            Some(relays) => relays.failed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = consumers => ended,
        failure = transactors => Err(failure),
        failure = relays => Err(failure),
    }
}

async fn end_consumers(mut consumers: Vec<Consumer>, within: Duration) {
    consumers.iter().for_each(|consumer| consumer.stop(within));
    for ended in join_all(consumers.iter_mut().map(Consumer::ended)).await {
        if let Err(failure) = ended {
            tracing::warn!(%failure, "a consumer did not stop in order");
        }
    }
}

/// The stop's deadline, less what closing takes after the attempts.
fn most_of(deadline: Duration) -> Duration {
    deadline.mul_f64(0.9)
}

fn say_counts(work: &Work) {
    work.sum_up_at_last();
    let counts = &work.counts;
    tracing::info!(
        listener = %work.id,
        applied = counts.applied.sum(),
        duplicates = counts.duplicates.sum(),
        failed_attempts = counts.failed.sum(),
        set_aside = counts.set_aside.sum(),
        parked = counts.parked.sum(),
        without_message_id = counts.without_id.sum(),
        "what this process did"
    );
}

fn kafka_error(plan: &Plan, failure: KafkaFailure) -> Error {
    Error::Kafka { group: group_names(plan), source: failure.into() }
}

fn group_names(plan: &Plan) -> String {
    let mut groups: Vec<&str> = plan.listeners.iter().map(|listener| &*listener.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_listeners_write_under_the_same_name() {
        let id = |group, topics: &[&str], instance, member| {
            let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
            transactional_id(group, &topics, instance, member)
        };
        let named = Some("pod-0");
        assert_eq!(id("shop", &["eu.order", "us.order"], named, 2), "eos.shop/eu.order,us.order/pod-0/2");
        assert_ne!(id("shop", &["eu.order"], named, 0), id("shop.eu", &["order"], named, 0));
        assert_ne!(id("shop", &["order"], None, 0), id("shop", &["order"], None, 0), "new at each start");
    }
}
