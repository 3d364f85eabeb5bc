//! The hot path on MySQL and MariaDB: one message to claim, one to prove, commit and claim the next.
//!
//! With `autocommit = 0` no BEGIN is needed: the first statement after a COMMIT begins. The server stops a message at
//! the first error, and the number of results before it says which statement it was.
//!
//! The inbox takes an id by `on duplicate key update`: a plain INSERT would answer a duplicate with an error, and
//! `insert ignore` would hide others. The rows affected do not tell the two apart, because sqlx asks the server for
//! found rows; so the update, which changes nothing, leaves a 1 as the last insert id.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, MySql};
use uuid::Uuid;

use super::{Answers, RowId, message, number, pool, run};
use crate::listener::spec::Isolation;
use crate::store::dialect::{Answer, ChainError, EndError, Store, StoreOptions};
use crate::store::tx::OnDrop;
use crate::store::{Claim, Hold, LastRecord, State, Stored, Tx, hex_literal};

/// What was claimed: enough to see afterwards whether it stands.
#[derive(Debug)]
pub(crate) struct Claimed {
    row: RowId,
    token: Uuid,
    what: What,
}

impl Claimed {
    /// Everything up to this record.
    pub(super) fn of(hold: &Hold<RowId>, last: LastRecord) -> Self {
        Claimed { row: hold.locator, token: hold.token, what: What::Position(last.offset + 1) }
    }
}

/// What the claim has written.
#[derive(Debug)]
enum What {
    /// This position.
    Position(i64),
    /// That this dead letter is replayed.
    Letter(i64),
    /// That this one is not parked any more.
    ParkedLetter(i64),
}

/// Makes a connection a session's: isolation and timeouts, no autocommit, and sqlx's depth at one while the server is
/// outside a transaction.
pub(super) async fn open(
    connection: PoolConnection<MySql>,
    options: StoreOptions,
) -> sqlx::Result<Tx<MySql>> {
    let limits = Limits {
        statement: options.deadline,
        lock_wait_s: whole_seconds(options.deadline),
        idle_s: whole_seconds(options.patience()),
    };
    session(connection, options.isolation, limits).await
}

/// How long the server lets a session do what.
pub(super) struct Limits {
    /// Zero is no limit. MySQL, unlike MariaDB, only limits what SELECT says.
    pub(super) statement: Duration,
    pub(super) lock_wait_s: u64,
    /// Asleep in a transaction; MariaDB only.
    pub(super) idle_s: u64,
}

pub(super) async fn session(
    connection: PoolConnection<MySql>,
    isolation: Isolation,
    limits: Limits,
) -> sqlx::Result<Tx<MySql>> {
    let mut tx = Tx::begin_with(connection, None, OnDrop::Discard).await?;
    let setup = format!(
        "rollback; set session transaction isolation level {isolation}; \
         set autocommit = 0, innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock} \
         /*M!100301 , max_statement_time = {seconds}.{millis:03}, idle_transaction_timeout = {idle} */ \
         /*!50708 , max_execution_time = {all_millis} */; select connection_id()",
        isolation = match isolation {
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        },
        lock = limits.lock_wait_s,
        seconds = limits.statement.as_secs(),
        millis = limits.statement.subsec_millis(),
        all_millis = limits.statement.as_millis(),
        idle = limits.idle_s,
    );
    let answers = message(&mut tx, setup).await.map_err(|(_, error)| error)?;
    if let Some(row) = answers.rows.first() {
        let id: u64 = sqlx::Row::try_get_unchecked(row, 0)?;
        tx.set_backend(i64::try_from(id).unwrap_or_default());
    }
    Ok(tx)
}

/// Timeouts that are counted in seconds are rounded up; 0 would mean none.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

/// Gives the connection back as the pool made it; a transaction is begun so that sqlx's own ROLLBACK has one to end.
pub(super) async fn close(mut tx: Tx<MySql>) -> sqlx::Result<()> {
    run(
        &mut tx,
        "rollback; set session transaction isolation level read committed; \
         set autocommit = 1, innodb_lock_wait_timeout = default, lock_wait_timeout = default \
         /*M!100301 , max_statement_time = default, idle_transaction_timeout = default */ \
         /*!50708 , max_execution_time = default */; begin",
    )
    .await?;
    tx.rollback().await
}

pub(super) async fn begin(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    claim: Claim<'_>,
) -> sqlx::Result<Answer<MySql>> {
    let mut sql = String::with_capacity(512);
    write_claim(&mut sql, store, options, hold, claim);
    let answers = message(tx, sql).await.map_err(|(_, error)| error)?;
    Ok(answer(&answers, 0, hold, claim))
}

/// An id that the inbox has forgotten is put there anew; one that is done already leaves a 1 as the last insert id.
pub(super) async fn begin_replay(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    letter: &Stored,
) -> sqlx::Result<Answer<MySql>> {
    let schema = &store.schema;
    let (turn, what) = match letter.state {
        State::Parked | State::Urged => {
            (format!("delete from {schema}eos_dead_letter"), What::ParkedLetter(letter.id))
        }
        State::Wanted | State::Dead | State::Replayed | State::Discarded => (
            format!("update {schema}eos_dead_letter set state=3,changed_at=current_timestamp(3)"),
            What::Letter(letter.id),
        ),
    };
    let mut sql = format!(
        "update {schema}eos_position set epoch=epoch,`connection`=connection_id(),held_until=unix_timestamp()+{} \
         where id={} and owner=x'{}' and next_offset={};\
         {turn} where id={} and state in ({}) and row_count()=1;",
        whole_seconds(options.patience()),
        hold.locator.0,
        hold.token.as_simple(),
        hold.next_offset,
        letter.id,
        letter.state.alike(),
    );
    if let Some(id) = &letter.message_id {
        let id = hex_literal(id);
        sql.push_str(&format!(
            "insert into {schema}eos_inbox(stream,message_id,seen_at) select {},{id},unix_timestamp() from dual \
             where row_count()=1 \
             on duplicate key update outcome=if(outcome=1,0,outcome+0*last_insert_id(1)),seen_at=unix_timestamp();",
            hold.stream
        ));
    }
    sql.push_str("savepoint eos_alive");
    let answers = message(tx, sql).await.map_err(|(_, error)| error)?;
    let one = |at: usize| answers.results.get(at).is_some_and(|result| result.rows_affected() == 1);
    let inbox = letter.message_id.as_ref().and_then(|_| answers.results.get(2));
    Ok(Answer {
        position: one(0).then_some(hold.locator),
        inbox_fresh: one(1) && inbox.is_none_or(|inbox| inbox.last_insert_id() == 0),
        proof: Claimed { row: hold.locator, token: hold.token, what },
    })
}

pub(super) async fn commit(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    claimed: &Claimed,
) -> Result<(), EndError> {
    match message(tx, COMMIT.to_owned()).await {
        Ok(_) => Ok(()),
        Err((results, error)) => Err(end_error(store, tx, claimed, results, error).await),
    }
}

pub(super) async fn commit_and_begin(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    options: StoreOptions,
    claimed: &Claimed,
    hold: &Hold<RowId>,
    claim: Claim<'_>,
) -> Result<Answer<MySql>, ChainError> {
    let mut sql = String::with_capacity(512);
    sql.push_str(COMMIT);
    sql.push(';');
    write_claim(&mut sql, store, options, hold, claim);
    match message(tx, sql).await {
        Ok(answers) => Ok(answer(&answers, RESULTS_OF_COMMIT, hold, claim)),
        Err((results, error)) if results < RESULTS_OF_COMMIT => {
            Err(ChainError::End(end_error(store, tx, claimed, results, error).await))
        }
        Err((_, error)) => Err(ChainError::Next(error)),
    }
}

/// Ends the connection from another, so that a statement that still runs in it lets go of the row.
pub(super) async fn abandon(store: &Store<MySql>, tx: Tx<MySql>) {
    let Some(id) = tx.backend() else { return };
    let ended = async {
        let mut connection = pool::beside(store).await?;
        run(&mut connection, format!("kill {id}")).await?;
        connection.close().await
    };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "an overdue attempt's connection could not be ended; its timeouts will");
    }
}

const COMMIT: &str = "release savepoint eos_alive;commit";
const RESULTS_OF_COMMIT: usize = 2;

/// `next_offset = …` is an equality on purpose: after a database that lost its tail came back, `<=` would jump over
/// what was lost. Where the position was not ours, the inbox is not touched, so that nobody waits for its row.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
fn write_claim(
    sql: &mut String,
    store: &Store<MySql>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    claim: Claim<'_>,
) {
    write_position(sql, store, options, hold, claim.record);
    let schema = &store.schema;
    if let Some(id) = claim.message_id {
        write!(sql, "insert into {schema}eos_inbox(stream,message_id,seen_at) select {},x'", hold.stream)
            .expect("to a String");
        for byte in id {
            write!(sql, "{byte:02x}").expect("to a String");
        }
        sql.push_str(
            "',unix_timestamp() from dual where row_count()=1 \
             on duplicate key update outcome=outcome+0*last_insert_id(1);",
        );
    }
    sql.push_str("savepoint eos_alive");
}

/// The position's part of a claim.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
pub(super) fn write_position(
    sql: &mut String,
    store: &Store<MySql>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    record: LastRecord,
) {
    let schema = &store.schema;
    write!(
        sql,
        "update {schema}eos_position set next_offset={offset}+1,last_offset={offset},last_timestamp={},last_checksum={},\
         attempts=0,`connection`=connection_id(),held_until=unix_timestamp()+{} \
         where id={} and owner=x'{}' and next_offset={};",
        record.timestamp_ms,
        record.checksum,
        whole_seconds(options.patience()),
        hold.locator.0,
        hold.token.as_simple(),
        hold.next_offset,
        offset = record.offset,
    )
    .expect("to a String");
}

/// The position, the inbox where there is an id, the savepoint.
fn answer(answers: &Answers, from: usize, hold: &Hold<RowId>, claim: Claim<'_>) -> Answer<MySql> {
    let ours = answers.results.get(from).is_some_and(|position| position.rows_affected() == 1);
    let inbox = claim.message_id.and_then(|_| answers.results.get(from + 1));
    Answer {
        position: ours.then_some(hold.locator),
        inbox_fresh: inbox.is_none_or(|inbox| inbox.last_insert_id() == 0),
        proof: Claimed::of(hold, claim.record),
    }
}

/// What a failed end means, by how far it got and by number.
async fn end_error(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    claimed: &Claimed,
    results: usize,
    error: sqlx::Error,
) -> EndError {
    match (results, number(&error)) {
        // No such savepoint: the transaction is another. What it wrote since is rolled back; was the rest committed?
        (0, Some(1305)) => match stands(store, tx, claimed).await {
            Ok(true) => EndError::Strayed(error),
            Ok(false) => EndError::RolledBack(error),
            Err(error) => EndError::InDoubt(error),
        },
        // COMMIT was not run, or lost against another.
        (0, Some(_)) | (_, Some(1213)) => EndError::RolledBack(error),
        (_, Some(_) | None) => EndError::InDoubt(error),
    }
}

/// Whether the claim was committed by somebody else: a COMMIT of the handler's, or a statement that commits.
async fn stands(store: &Store<MySql>, tx: &mut Tx<MySql>, claimed: &Claimed) -> sqlx::Result<bool> {
    run(tx, "rollback").await?;
    let schema = &store.schema;
    let sql = match claimed.what {
        What::Position(next_offset) => format!(
            "select count(*) from {schema}eos_position where id = {} and owner = x'{}' and next_offset = {next_offset}",
            claimed.row.0,
            claimed.token.as_simple()
        ),
        What::Letter(id) => {
            format!("select count(*) from {schema}eos_dead_letter where id = {id} and state = 3")
        }
        What::ParkedLetter(id) => {
            // Another that took the partition meanwhile may have handled it.
            format!(
                "select count(*) from {schema}eos_position where id = {} and owner = x'{}' \
                 and not exists (select 1 from {schema}eos_dead_letter where id = {id})",
                claimed.row.0,
                claimed.token.as_simple()
            )
        }
    };
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(&mut **tx).await?;
    run(tx, "rollback").await?;
    Ok(count == 1)
}
