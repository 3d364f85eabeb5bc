//! The worker against a real PostgreSQL and a log that lies in memory: what needs no broker to be seen.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool, Postgres};
use tokio::sync::{Semaphore, oneshot};

use super::{Board, Bound, Breaker, Classify, Outage, Seats, Vigil, Watchdog, Work, run_transactional};
use crate::PgTx;
use crate::error::HandlerError;
use crate::extract::{Delivery, States};
use crate::listener::resolved::DeadLetters;
use crate::listener::retry::RetryPolicy;
use crate::listener::spec::{Dedupe, Handler, HandlerFuture, Isolation, OnFailure};
use crate::metrics::ListenerCounts;
use crate::record::Record;
use crate::settings::{LogKeys, RetentionGap, Start};
use crate::source::{CommittedInKafka, Lease, LeaseId, LeaseSource, Requests, SourceError, Watermarks};
use crate::store::{Dialect, MigrateMode, postgres};

/// A log in memory: offsets are indexes.
#[derive(Debug, Default)]
struct Log {
    records: Vec<Record>,
    low: AtomicI64,
    refuses: AtomicBool,
    source: Mutex<Option<LeaseSource>>,
}

impl Requests for Log {
    fn watermarks(&self, _: &Arc<str>, _: i32, reply: oneshot::Sender<Result<Watermarks, SourceError>>) {
        let low = self.low.load(Ordering::Relaxed);
        reply.send(Ok(Watermarks { low, high: self.records.len() as i64 })).ok();
    }

    fn partitions(&self, _: &Arc<str>, reply: oneshot::Sender<Result<i32, SourceError>>) {
        reply.send(Ok(1)).ok();
    }

    fn seek(&self, _: LeaseId, offset: i64, seek: u64, reply: oneshot::Sender<Result<(), SourceError>>) {
        reply.send(Ok(())).ok();
        let source = self.source.lock().expect("not poisoned");
        let source = source.as_ref().expect("the lease lives");
        for records in self.records[offset as usize..].chunks(64) {
            source.hand_over(seek, records.to_vec(), 0);
        }
    }

    fn confirm(&self, _: LeaseId, _: i64, reply: oneshot::Sender<Result<bool, SourceError>>) {
        reply.send(Ok(!self.refuses.load(Ordering::Relaxed))).ok();
    }

    fn committed(&self, _: LeaseId, reply: oneshot::Sender<Result<Option<CommittedInKafka>, SourceError>>) {
        reply.send(Ok(None)).ok();
    }

    fn wake(&self) {}
}

pub(super) struct World {
    pool: PgPool,
    database: String,
    bound: Bound<Postgres>,
    work: Arc<Work>,
}

impl World {
    async fn new() -> World {
        let url = std::env::var("EOS_TEST_POSTGRES")
            .expect("EOS_TEST_POSTGRES is not set: run `scripts/test`, or `export $(scripts/services env)`");
        let options: PgConnectOptions = url.parse().expect("an address");
        let database = format!("worker_{}", uuid::Uuid::new_v4().simple());
        let admin =
            PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await.expect("reached");
        sqlx::query(AssertSqlSafe(format!("create database {database}")))
            .execute(&admin)
            .await
            .expect("created");
        let options = options.database(&database);
        let pool =
            PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await.expect("reached");
        sqlx::query("create table applied (n bigint not null)").execute(&pool).await.expect("created");
        let store = postgres::connect(options, "public", 6);
        Postgres::migrate(&store, MigrateMode::Auto).await.expect("migrated");
        let bound = Bound { store: Arc::new(store), seats: Seats::new(6), vigil: Vigil::default() };
        World { pool, database, bound, work: Arc::new(World::work()) }
    }

    /// What a listener's workers share, with waits that suit a test.
    pub(super) fn work() -> Work {
        Work {
            id: "tests::worker".into(),
            group: "g".into(),
            deadline: Duration::from_secs(5),
            hands: 1,
            isolation: Isolation::ReadCommitted,
            dedupe: Dedupe::MessageId,
            group_commit: 1,
            max_wait: Duration::ZERO,
            key_slots: 1,
            suspects: Arc::new(Semaphore::new(1)),
            take_on_every: Duration::from_secs(1),
            deduped: None,
            states: States::default(),
            id_headers: Arc::from(["message-id".to_owned()]),
            classify: Classify::default(),
            retry: RetryPolicy {
                max: 5,
                backoff: Duration::from_millis(10),
                factor: 2.0,
                max_backoff: Duration::from_millis(100),
                jitter: 0.0,
            },
            on_failure: OnFailure::Block,
            parked_at_most: 10_000,
            dead_letters: DeadLetters::Table,
            letters: None,
            board: Arc::new(Board::default()),
            breaker: Breaker::new(20, Duration::from_secs(60)),
            outage: Outage::default(),
            watchdog: Watchdog::start(),
            log: super::Log::new(LogKeys::Hashed, Duration::from_secs(60)),
            stopped_log_every: Duration::from_secs(60),
            start: Start::Earliest,
            on_gap: RetentionGap::Stop,
            cluster: None,
            counts: ListenerCounts::default(),
        }
    }

    /// Runs a worker until `done` rows were applied, then revokes and joins it.
    async fn work_until(&self, records: Vec<Record>, done: i64) {
        let log = Arc::new(Log { records, ..Log::default() });
        let (lease, source) = Lease::new("t".into(), 0, 1, Arc::clone(&log) as Arc<dyn Requests>);
        let revoked = source.revoked.clone();
        *log.source.lock().expect("not poisoned") = Some(source);
        let worker = tokio::spawn(run_transactional(
            lease,
            Arc::clone(&self.work),
            self.bound.clone(),
            Handler::One(apply),
        ));
        let began = Instant::now();
        while self.applied().await < done {
            assert!(began.elapsed() < Duration::from_secs(60), "only {} applied", self.applied().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        revoked.cancel();
        worker.await.expect("the worker ended");
        log.source.lock().expect("not poisoned").take();
    }

    async fn applied(&self) -> i64 {
        sqlx::query_scalar("select count(*) from applied").fetch_one(&self.pool).await.expect("counted")
    }

    async fn twice(&self) -> i64 {
        let sql = "select count(*) - count(distinct n) from applied";
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("counted")
    }

    async fn drop_database(self) {
        self.bound.store.pool.close().await;
        let options = (*self.pool.connect_options()).clone().database("postgres");
        self.pool.close().await;
        let admin = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("reached");
        let sql = format!("drop database {} with (force)", self.database);
        sqlx::query(AssertSqlSafe(sql)).execute(&admin).await.expect("dropped");
    }
}

fn apply<'a>(tx: &'a mut PgTx, delivery: &'a Delivery<'a>) -> HandlerFuture<'a> {
    Box::pin(async move {
        let n: i64 = std::str::from_utf8(delivery.record().payload().unwrap_or_default())?.parse()?;
        if n % 7 == 3 && delivery.attempt() == 1 {
            return Err(HandlerError::again("the first attempt at every seventh fails"));
        }
        sqlx::query("insert into applied (n) values ($1)").bind(n).execute(&mut *tx).await?;
        Ok(())
    })
}

fn records(count: i64, id: impl Fn(i64) -> i64) -> Vec<Record> {
    let record = |offset: i64| {
        let n = id(offset);
        Record::builder("t").at(0, offset).payload(n.to_string()).header("message-id", n.to_string()).build()
    };
    (0..count).map(record).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_is_applied_once_though_attempts_fail_and_duplicates_come() {
    let world = World::new().await;
    // Every record comes twice under the same id.
    world.work_until(records(200, |offset| offset / 2), 100).await;
    // A new owner goes on behind the last one, and has nothing to do.
    world.work_until(records(200, |offset| offset / 2), 100).await;
    assert_eq!((world.applied().await, world.twice().await), (100, 0));
    let position: i64 = sqlx::query_scalar("select next_offset from eos_position")
        .fetch_one(&world.pool)
        .await
        .expect("a row");
    assert!(position >= 199, "{position}");
    world.drop_database().await;
}
