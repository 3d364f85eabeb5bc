//! The suite on SQLite, and what only SQLite has: a stopped process that holds the whole file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Sqlite, SqliteConnection};

use super::harness::*;
use crate::store::dialect::{Dialect, Fault, Store};
use crate::store::{ChainFailed, MigrateMode, StoreOptions, Tx, sqlite};

suite!(super::File);

/// A file of its own in the system's folder for such.
pub(super) struct File {
    path: PathBuf,
    store: Arc<Store<Sqlite>>,
}

impl File {
    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(&self.path).create_if_missing(true)
    }

    async fn connection(&self) -> SqliteConnection {
        let options = self.options().journal_mode(SqliteJournalMode::Wal).disable_statement_logging();
        options.connect().await.expect("the file opens")
    }

    fn at(path: PathBuf) -> Self {
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        File { path, store: Arc::new(sqlite::connect(options, "", 8)) }
    }

    /// What lies beside the database, by the end of its name.
    fn beside(&self) -> Vec<String> {
        let name = self.path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let folder = self.path.parent().expect("a folder").read_dir().expect("it can be read");
        let mut found: Vec<_> = folder
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&name).map(str::to_owned))
            .filter(|suffix| !suffix.is_empty())
            .collect();
        found.sort();
        found
    }
}

impl Harness for File {
    type D = Sqlite;

    const KEY_COLUMN: &'static str = "key";
    const ESCAPES: bool = false;
    const MAKES_IDS: bool = true;
    const ERROR_ABORTS: bool = false;
    const ROLLBACK_STRAYS: bool = true;
    const DEFERRED: Option<(&'static str, &'static str)> = Some((
        "create table parent (id integer primary key); \
         create table child (parent integer references parent deferrable initially deferred)",
        "insert into child values (1)",
    ));
    const SETTING: &'static str =
        "create temp table eos_position (id integer, owner blob, next_offset integer)";

    fn bytes(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{hex}'")
    }

    async fn fresh() -> Self {
        let h = Self::empty().await;
        Sqlite::migrate(&h.store, MigrateMode::Auto).await.expect("the tables are made");
        h.outside("create table effect (n bigint)").await;
        h
    }

    async fn empty() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("eos-t-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self::at(folder.join("orders.db"))
    }

    async fn remove(self) {
        self.store.pool.close().await;
        let ours = format!("-eos-{}-", std::process::id());
        let promises: Vec<_> = self.beside().into_iter().filter(|suffix| suffix.contains(&ours)).collect();
        std::fs::remove_dir_all(self.path.parent().expect("a folder")).expect("removed");
        assert!(promises.is_empty(), "every attempt took its promise back: {promises:?}");
    }

    fn store(&self) -> &Arc<Store<Sqlite>> {
        &self.store
    }

    fn another_store(&self) -> Arc<Store<Sqlite>> {
        Arc::new(sqlite::connect(self.options(), "", 4))
    }

    async fn outside(&self, sql: &str) -> u64 {
        let mut connection = self.connection().await;
        let done =
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement works");
        connection.close().await.expect("closed");
        done.rows_affected()
    }

    async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connection().await;
        let number =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("a number");
        connection.close().await.expect("closed");
        number
    }

    like_any_other!(Sqlite);

    async fn age_inbox(&self, by: Duration) {
        self.outside(&format!("update eos_inbox set seen_at = seen_at - {}", by.as_secs())).await;
    }
}

/// A child process: takes, claims, writes, says so, and then sleeps with the file locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by its parent"]
async fn child_that_sleeps_in_an_attempt() {
    let path = std::env::var_os("EOS_TEST_FILE").expect("its parent names the file");
    let h = File::at(path.into());
    let hold = take_within::<File>(h.store(), 0, SHORT).await;
    let mut open = fresh(begin(session_with::<File>(h.store(), hold, options(SHORT)).await, at(0)).await);
    effect::<File>(&mut open, 0).await;
    std::fs::write(h.path.with_file_name("claimed"), "").expect("it is said");
    std::thread::sleep(Duration::from_secs(100));
    drop(open);
}

const SHORT: Duration = Duration::from_secs(1);

/// Does not outlive its test, stopped or not.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).ok();
    }
}

/// Runs that child until it has claimed.
async fn child(h: &File) -> Child {
    let child = std::process::Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "store::conformance::sqlite::child_that_sleeps_in_an_attempt", "--ignored"])
        .env("EOS_TEST_FILE", &h.path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the child runs");
    let child = Child(child);
    let claimed = h.path.with_file_name("claimed");
    for _ in 0..2000 {
        if claimed.exists() {
            return child;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the child did not come to its claim");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_that_holds_the_file_is_ended_past_its_deadline() {
    use std::os::unix::process::ExitStatusExt;

    let h = File::fresh().await;
    let mut sleeper = child(&h).await;
    let id = rustix::process::Pid::from_child(&sleeper.0);
    rustix::process::kill_process(id, rustix::process::Signal::STOP).expect("it is stopped");
    let promise = format!("-eos-{}-", sleeper.0.id());
    assert!(h.beside().iter().any(|name| name.starts_with(&promise)), "{:?}", h.beside());
    let began = Instant::now();
    let hold = take_within::<File>(h.store(), 0, DEADLINE).await;
    assert!(began.elapsed() < SHORT + StoreOptions::MARGIN + Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((hold.next_offset, hold.epoch), (0, 2));
    assert_eq!(sleeper.0.wait().expect("it has ended").signal(), Some(9));
    handle::<File>(session(&h, hold).await, at(0)).await.close().await;
    assert_eq!((effects(&h).await, position(&h).await), (1, 1));
    // Its promise is cleared away by whoever waits next.
    let open = fresh(begin(owner(&h, 1).await, at(0)).await);
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<File>(&other, 1, DEADLINE).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    commit(open).await.close().await;
    taking.await.expect("taken");
    h.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_within_its_deadline_is_waited_for() {
    let h = File::fresh().await;
    let mut worker = child(&h).await;
    let path = h.path.clone();
    let taking =
        tokio::spawn(async move { take_within::<File>(&File::at(path).store, 0, Duration::ZERO).await });
    tokio::time::sleep(SHORT).await;
    assert!(!taking.is_finished());
    assert!(worker.0.try_wait().expect("it can be asked").is_none(), "it lives");
    worker.0.kill().expect("ended by the test");
    worker.0.wait().expect("ended");
    assert_eq!(taking.await.expect("taken").epoch, 2);
    h.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_without_end_ends_with_its_attempt() {
    let h = File::fresh().await;
    for abandoned in [true, false] {
        let mut open = fresh(begin(owner(&h, 0).await, at(0)).await);
        effect::<File>(&mut open, 0).await;
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n";
        let timed_out =
            tokio::time::timeout(Duration::from_millis(300), File::write(open.tx(), endless)).await;
        assert!(timed_out.is_err(), "it has no end");
        if abandoned {
            open.abandon().await;
        } else {
            drop(open);
        }
        let began = Instant::now();
        assert_eq!(take(&h, 0).await.next_offset, 0);
        assert!(began.elapsed() < Duration::from_secs(3), "the file is free again");
        assert_eq!(effects(&h).await, 0);
    }
    h.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taker_gets_its_turn_beside_a_backlog() {
    let h = File::fresh().await;
    let idle = owner(&h, 0).await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let backlog = tokio::spawn(async move {
        let mut open = fresh(begin(idle, at(0)).await);
        let mut offset = 1;
        while !stopped.load(Ordering::Relaxed) {
            effect::<File>(&mut open, offset).await;
            open = match open.commit_and_begin(at(offset)).await {
                Ok(claimed) => fresh(claimed),
                Err(ChainFailed::Commit(failed, _)) => panic!("{failed:?}"),
                Err(ChainFailed::Next(error, _)) => panic!("{error:?}"),
            };
            offset += 1;
        }
        commit(open).await.close().await;
    });
    let other = h.another_store();
    let mut longest = Duration::ZERO;
    for partition in 1..20 {
        let began = Instant::now();
        take_within::<File>(&other, partition, DEADLINE).await;
        longest = longest.max(began.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    backlog.await.expect("it went on");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    h.remove().await;
}

#[tokio::test]
async fn commits_reach_the_disk() {
    let h = File::fresh().await;
    let mut connection = h.store().pool.acquire().await.expect("a connection");
    let synchronous: i64 =
        sqlx::query_scalar("pragma synchronous").fetch_one(&mut *connection).await.expect("told");
    let journal: String =
        sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *connection).await.expect("told");
    assert_eq!((synchronous, journal.as_str()), (2, "wal"));
    drop(connection);
    h.remove().await;
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for address in ["sqlite::memory:", "sqlite://?mode=memory"] {
        let options = address.parse::<SqliteConnectOptions>().expect("an address");
        let refused = sqlite::probe(&options).await.expect_err("it would be gone with its connection");
        assert_eq!(Sqlite::fault(&refused), Fault::Refused);
        assert!(refused.to_string().contains("give a file"), "{refused}");
    }
    let missing = SqliteConnectOptions::new().filename("no/such/folder/orders.db");
    let refused = sqlite::probe(&missing).await.expect_err("there is none");
    assert_eq!(Sqlite::fault(&refused), Fault::Refused);
}
