//! The hot path on SQLite: one visit to the connection's thread to begin and claim, one to prove, commit and claim.
//!
//! The proof of life is a savepoint made right behind the claim: whatever ended the transaction took it along, also
//! a ROLLBACK with a BEGIN behind it, so that RELEASE says `no such savepoint`. Errors are attributed by how many
//! statements came before them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use super::lock::{self, Turn};
use super::{NOW_MS, RowId, code, statements};
use crate::store::dialect::{Answer, ChainError, EndError, Store, StoreOptions};
use crate::store::tx::OnDrop;
use crate::store::{Claim, Hold, LastRecord, State, Stored, Tx, hex_literal};

/// Makes a connection a session's: sqlx's depth at one while no transaction is open, and a way to interrupt what
/// still runs on the connection's thread when the session is dropped.
pub(super) async fn open(connection: PoolConnection<Sqlite>) -> sqlx::Result<Tx<Sqlite>> {
    let mut tx = Tx::begin_with(connection, None, OnDrop::Discard).await?;
    run(&mut tx, "rollback").await?;
    let dropped = Arc::new(AtomicBool::new(false));
    tx.interrupt_on_drop(Arc::clone(&dropped));
    tx.lock_handle().await?.set_progress_handler(10_000, move || !dropped.load(Ordering::Relaxed));
    Ok(tx)
}

/// Gives the connection back: a transaction is begun so that sqlx's own ROLLBACK has one to end.
pub(super) async fn close(mut tx: Tx<Sqlite>) -> sqlx::Result<()> {
    tx.lock_handle().await?.remove_progress_handler();
    run(&mut tx, "begin").await?;
    tx.rollback().await
}

pub(super) async fn begin(
    store: &Store<Sqlite>,
    tx: &mut Tx<Sqlite>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    claim: Claim<'_>,
) -> sqlx::Result<Answer<Sqlite>> {
    let mut sql = String::with_capacity(512);
    write_begin(&mut sql, store, hold, claim);
    let patience = options.patience();
    let (changed, turn) = lock::begin(store, tx, patience, Some(patience), &sql).await?;
    Ok(answer(&changed, turn, hold))
}

/// An id that the inbox has forgotten is put there anew; one that is done already changes no row.
pub(super) async fn begin_replay(
    store: &Store<Sqlite>,
    tx: &mut Tx<Sqlite>,
    options: StoreOptions,
    hold: &Hold<RowId>,
    letter: &Stored,
) -> sqlx::Result<Answer<Sqlite>> {
    let schema = &store.schema;
    let turn = match letter.state {
        State::Parked | State::Urged => format!("delete from {schema}eos_dead_letter"),
        State::Wanted | State::Dead | State::Replayed | State::Discarded => {
            format!("update {schema}eos_dead_letter set state=3,changed_at={NOW_MS}")
        }
    };
    let mut sql = format!(
        "begin immediate;\
         update {schema}eos_position set taken_at=taken_at where id={} and owner=x'{}' and next_offset={};\
         {turn} where id={} and state in ({}) and changes()=1;",
        hold.locator.0,
        hold.token.as_simple(),
        hold.next_offset,
        letter.id,
        letter.state.alike(),
    );
    if let Some(id) = &letter.message_id {
        let id = hex_literal(id);
        sql.push_str(&format!(
            "insert into {schema}eos_inbox(stream,message_id) select {},{id} where changes()=1 \
             on conflict (stream,message_id) do update set outcome=0,seen_at=cast(strftime('%s','now') as integer) where outcome=1;",
            hold.stream
        ));
    }
    sql.push_str("savepoint eos_alive");
    let patience = options.patience();
    let (changed, turn) = lock::begin(store, tx, patience, Some(patience), &sql).await?;
    let one = |at: usize| changed.get(at) == Some(&1);
    Ok(Answer {
        position: one(1).then_some(hold.locator),
        inbox_fresh: one(2) && (letter.message_id.is_none() || one(3)),
        proof: turn,
    })
}

pub(super) async fn commit(tx: &mut Tx<Sqlite>) -> Result<(), EndError> {
    statements(tx, COMMIT.to_owned()).await.map(drop).map_err(end_error)
}

pub(super) async fn commit_and_begin(
    store: &Store<Sqlite>,
    tx: &mut Tx<Sqlite>,
    options: StoreOptions,
    turn: &Turn,
    hold: &Hold<RowId>,
    claim: Claim<'_>,
) -> Result<Answer<Sqlite>, ChainError> {
    let last = turn;
    let Some(turn) = turn.extend(options.patience()) else {
        commit(tx).await.map_err(ChainError::End)?;
        last.wait_for_next(options.patience());
        Turn::pause().await;
        return begin(store, tx, options, hold, claim).await.map_err(ChainError::Next);
    };
    let mut sql = String::with_capacity(512);
    sql.push_str(COMMIT);
    sql.push(';');
    write_begin(&mut sql, store, hold, claim);
    match statements(tx, sql).await {
        Ok(changed) => Ok(answer(&changed[RESULTS_OF_COMMIT..], turn, hold)),
        Err((results, error)) if results < RESULTS_OF_COMMIT => {
            Err(ChainError::End(end_error((results, error))))
        }
        // Another came in between; our turn is over.
        Err((RESULTS_OF_COMMIT, error)) if lock::is_busy(&error) => {
            turn.wait_for_next(options.patience());
            begin(store, tx, options, hold, claim).await.map_err(ChainError::Next)
        }
        Err((_, error)) => Err(ChainError::Next(error)),
    }
}

/// ROLLBACK, where there is something to roll back: some errors have done it already.
pub(super) async fn rollback(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    match run(connection, "rollback").await {
        // The only way a ROLLBACK fails with the general code is that no transaction is open.
        Err(error) if code(&error) == Some(1) => Ok(()),
        done => done,
    }
}

const COMMIT: &str = "release eos_alive;commit";
const RESULTS_OF_COMMIT: usize = 2;

async fn run(connection: &mut SqliteConnection, sql: &str) -> sqlx::Result<()> {
    statements(connection, sql.to_owned()).await.map(drop).map_err(|(_, error)| error)
}

/// `next_offset = …` is an equality on purpose: after a file that was restored from a backup, `<=` would jump over
/// what was lost.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
fn write_begin(sql: &mut String, store: &Store<Sqlite>, hold: &Hold<RowId>, claim: Claim<'_>) {
    write_begin_position(sql, store, hold, claim.record);
    let schema = &store.schema;
    if let Some(id) = claim.message_id {
        write!(sql, "insert into {schema}eos_inbox(stream,message_id) values({},x'", hold.stream)
            .expect("to a String");
        for byte in id {
            write!(sql, "{byte:02x}").expect("to a String");
        }
        sql.push_str("') on conflict do nothing;");
    }
    sql.push_str("savepoint eos_alive");
}

/// BEGIN, and the position's part of a claim.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
pub(super) fn write_begin_position(
    sql: &mut String,
    store: &Store<Sqlite>,
    hold: &Hold<RowId>,
    record: LastRecord,
) {
    let schema = &store.schema;
    write!(
        sql,
        "begin immediate;\
         update {schema}eos_position set next_offset={offset}+1,last_offset={offset},last_timestamp={},last_checksum={},attempts=0 \
         where id={} and owner=x'{}' and next_offset={};",
        record.timestamp_ms,
        record.checksum,
        hold.locator.0,
        hold.token.as_simple(),
        hold.next_offset,
        offset = record.offset,
    )
    .expect("to a String");
}

/// BEGIN, the position, the inbox where there is an id, the savepoint.
fn answer(changed: &[u64], turn: Turn, hold: &Hold<RowId>) -> Answer<Sqlite> {
    let inbox_fresh = changed.len() == 3 || changed.get(2) == Some(&1);
    Answer { position: (changed.get(1) == Some(&1)).then_some(hold.locator), inbox_fresh, proof: turn }
}

/// What a failed end means, by how far it got and by result code.
fn end_error((results, error): (usize, sqlx::Error)) -> EndError {
    match (results, code(&error)) {
        // No such savepoint.
        (0, Some(1)) => EndError::Strayed(error),
        (0, Some(_)) => EndError::RolledBack(error),
        // A deferred constraint, or a reader in the way: COMMIT did nothing, and the transaction is still open.
        (_, Some(5 | 19)) => EndError::RolledBack(error),
        (_, Some(_) | None) => EndError::InDoubt(error),
    }
}
