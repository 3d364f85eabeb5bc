//! `#[outbox(retries = N)]` against transactions that really meet: two that have both read what they are about to change.

use std::sync::atomic::{AtomicUsize, Ordering};

use eos_runtime::TxError;
use eos_runtime::prelude::*;
use eos_tests::{Events, Kind, Scene};
use tokio::sync::Barrier;

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

#[derive(Debug, Event, Serialize, Deserialize)]
#[event(topic = "counter")]
struct Counted {
    n: i64,
}

#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Transaction(#[from] TxError),
}

/// Counts in a row; the first two calls wait for each other between reading and writing.
struct Counter {
    both_have_read: Barrier,
    runs: AtomicUsize,
}

impl Counter {
    fn new() -> Self {
        Counter { both_have_read: Barrier::new(2), runs: AtomicUsize::new(0) }
    }

    async fn meet(&self) {
        if self.runs.fetch_add(1, Ordering::Relaxed) < 2 {
            self.both_have_read.wait().await;
        }
    }

    async fn count(&self, tx: &mut PgTx) -> Result<Counted, CountError> {
        let n: i64 = sqlx::query_scalar("select n from counter").fetch_one(&mut *tx).await?;
        self.meet().await;
        sqlx::query("update counter set n = $1").bind(n + 1).execute(&mut *tx).await?;
        Ok(Counted { n: n + 1 })
    }

    #[outbox(isolation = "serializable", retries = 3)]
    async fn count_on_mariadb(&self, tx: &mut MySqlTx) -> Result<Counted, CountError> {
        let n: i64 = sqlx::query_scalar("select n from counter").fetch_one(&mut *tx).await?;
        self.meet().await;
        sqlx::query("update counter set n = ?").bind(n + 1).execute(&mut *tx).await?;
        Ok(Counted { n: n + 1 })
    }

    #[outbox(isolation = "serializable", retries = 3)]
    async fn count_on_postgres(&self, tx: &mut PgTx) -> Result<Counted, CountError> {
        self.count(tx).await
    }

    #[outbox(isolation = "serializable")]
    async fn count_once(&self, tx: &mut PgTx) -> Result<Counted, CountError> {
        self.count(tx).await
    }
}

/// A row to count in, and the outbox.
async fn scene(kind: Kind) -> Scene {
    let scene = Events::new(kind, 1, SINKS).await.scene;
    scene.database.execute("create table counter (n bigint not null)").await;
    scene.database.execute("insert into counter (n) values (0)").await;
    scene
}

/// What the row says, and how many entries the outbox has.
async fn seen(scene: &Scene) -> (i64, i64) {
    let number = async |sql| scene.database.number(sql).await.expect("a number");
    (number("select n from counter").await, number("select count(*) from eos_outbox").await)
}

/// Both calls of a method that tries again came to their end.
async fn both_committed(scene: &Scene, counter: Counter, calls: [Result<Counted, CountError>; 2]) {
    let mut counted = calls.map(|call| call.expect("it commits").n);
    counted.sort_unstable();
    assert_eq!(counted, [1, 2], "each caller gets what its own last run returned");
    assert_eq!(counter.runs.into_inner(), 3, "the two met, and one of them ran again");
    assert_eq!(seen(scene).await, (2, 2), "the run that gave way has published nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_met_on_postgres_both_commit_and_each_event_is_stored_once() {
    let scene = scene(Kind::Postgres).await;
    let (pool, counter) = (scene.database.postgres(), Counter::new());
    let calls = tokio::join!(counter.count_on_postgres(pool), counter.count_on_postgres(pool));
    both_committed(&scene, counter, calls.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_met_on_mariadb_both_commit_and_each_event_is_stored_once() {
    let scene = scene(Kind::MariaDb).await;
    let (pool, counter) = (scene.database.mariadb(), Counter::new());
    let calls = tokio::join!(counter.count_on_mariadb(pool), counter.count_on_mariadb(pool));
    both_committed(&scene, counter, calls.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retries_the_one_that_gives_way_is_told() {
    let scene = scene(Kind::Postgres).await;
    let (pool, counter) = (scene.database.postgres(), Counter::new());
    let (one, two) = tokio::join!(counter.count_once(pool), counter.count_once(pool));
    let failures: Vec<CountError> = [one, two].into_iter().filter_map(Result::err).collect();
    let [CountError::Sql(error) | CountError::Transaction(TxError::Commit(error))] = &failures[..] else {
        panic!("one of the two gives way: {failures:?}")
    };
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    assert_eq!(code.as_deref(), Some("40001"), "{error}");
    assert_eq!(seen(&scene).await, (1, 1));
}
