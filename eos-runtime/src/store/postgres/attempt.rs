//! The hot path on PostgreSQL: one message to begin and claim, one to prove, commit, begin and claim the next.
//!
//! The claim is PREPAREd once a connection (see `pool.rs`) and executed by text, so that it can travel in the same
//! simple-query message as BEGIN and COMMIT. Such a message has several results; an error is attributed by how many
//! came before it, because its code cannot tell (a COMMIT and a claim both fail with 40001).

use std::fmt::Write as _;

use futures_util::TryStreamExt;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use sqlx::{AssertSqlSafe, Connection, Either, PgConnection, Postgres, Row};

use super::pool::{self, APPLICATION_NAME};
use super::{Ctid, Xid, run};
use crate::listener::spec::Isolation;
use crate::store::dialect::{Answer, ChainError, EndError, Store, StoreOptions};
use crate::store::tx::OnDrop;
use crate::store::{Claim, Hold, State, Stored, Tx};

/// Makes a connection a session's: its timeouts, and sqlx's depth at one while the server is idle.
pub(super) async fn open(
    connection: PoolConnection<Postgres>,
    options: StoreOptions,
) -> sqlx::Result<Tx<Postgres>> {
    let mut tx = Tx::begin_with(connection, None, OnDrop::Discard).await?;
    // Not in the message of that BEGIN: the ROLLBACK would take the settings back with it. The name tells whoever waits
    // for this session how long it may take.
    let setup = format!(
        "rollback; set default_transaction_isolation = 'read committed'; \
         set statement_timeout = {deadline}; set lock_timeout = {deadline}; \
         set idle_in_transaction_session_timeout = {idle}; \
         set application_name = '{APPLICATION_NAME} {idle}'; {plans} select pg_catalog.pg_backend_pid()",
        // A claim may have been planned for a weaker level, with a scan.
        plans = if options.isolation == Isolation::Serializable { "discard plans;" } else { "" },
        deadline = options.deadline.as_millis(),
        idle = options.patience().as_millis(),
    );
    let pid = message(&mut tx, setup).await.map_err(|(_, error)| error)?;
    if let Some(pid) = pid {
        tx.set_backend(pid.try_get_unchecked::<i32, _>(0)?.into());
    }
    Ok(tx)
}

/// Gives the connection back without the session's settings, and without those that a handler made; prepared statements
/// stay. A transaction is begun so that sqlx's own ROLLBACK has one to end.
pub(super) async fn close(mut tx: Tx<Postgres>) -> sqlx::Result<()> {
    run(&mut tx, "reset all; select pg_catalog.pg_advisory_unlock_all(); begin".to_owned()).await?;
    tx.rollback().await
}

pub(super) async fn begin(
    schema: &str,
    tx: &mut Tx<Postgres>,
    options: StoreOptions,
    hold: &Hold<Ctid>,
    claim: Claim<'_>,
) -> sqlx::Result<Answer<Postgres>> {
    let mut sql = String::with_capacity(256);
    write_begin(&mut sql, schema, options, hold, claim);
    let row = message(tx, sql).await.map_err(|(_, error)| error)?;
    claim_answer(tx, &hold.locator, row)
}

/// One statement again. An id that the inbox has forgotten is put there anew; one that is done already makes the answer
/// one of a duplicate.
pub(super) async fn begin_replay(
    store: &Store<Postgres>,
    tx: &mut Tx<Postgres>,
    options: StoreOptions,
    hold: &Hold<Ctid>,
    letter: &Stored,
) -> sqlx::Result<Answer<Postgres>> {
    let (schema, stream) = (&store.schema, hold.stream);
    let turn = match letter.state {
        State::Parked | State::Urged => format!("delete from {schema}eos_dead_letter l using p"),
        State::Wanted | State::Dead | State::Replayed | State::Discarded => format!(
            "update {schema}eos_dead_letter l set state = 3, changed_at = pg_catalog.clock_timestamp() from p"
        ),
    };
    let sql = format!(
        "{begin} with p as (update {schema}eos_position set taken_at = taken_at \
           where ctid = '{locator}' and owner = '{token}' and next_offset = '{next}' returning ctid), \
         l as ({turn} where l.id = '{id}' and l.state in ({alike}) returning l.message_id), \
         i as (update {schema}eos_inbox i set outcome = 0, seen_at = now() from l \
           where i.stream = {stream} and i.message_id = l.message_id and i.outcome = 1 returning 1), \
         n as (insert into {schema}eos_inbox (stream, message_id) select {stream}, l.message_id from l \
           where l.message_id is not null and not exists (select from i) on conflict do nothing returning 1) \
         select p.ctid, exists (select from l where l.message_id is null) or exists (select from i) \
           or exists (select from n), pg_catalog.pg_current_xact_id() from p{after}",
        after = after_claim(options.isolation),
        begin = begin_words(options.isolation),
        locator = hold.locator,
        token = hold.token.as_hyphenated(),
        next = hold.next_offset,
        id = letter.id,
        alike = letter.state.alike(),
    );
    let row = message(tx, sql).await.map_err(|(_, error)| error)?;
    claim_answer(tx, &hold.locator, row)
}

pub(super) async fn commit(tx: &mut Tx<Postgres>, proof: &Xid) -> Result<(), EndError> {
    let mut sql = String::with_capacity(128);
    let proofs = write_commit(&mut sql, tx, proof);
    match message(tx, sql).await {
        Ok(_) => Ok(()),
        Err((results, error)) => Err(end_error(results < proofs, error)),
    }
}

pub(super) async fn commit_and_begin(
    schema: &str,
    tx: &mut Tx<Postgres>,
    options: StoreOptions,
    proof: &Xid,
    hold: &Hold<Ctid>,
    claim: Claim<'_>,
) -> Result<Answer<Postgres>, ChainError> {
    let mut sql = String::with_capacity(384);
    let proofs = write_commit(&mut sql, tx, proof);
    sql.push(';');
    write_begin(&mut sql, schema, options, hold, claim);
    match message(tx, sql).await {
        Ok(row) => claim_answer(tx, &hold.locator, row).map_err(ChainError::Next),
        Err((results, error)) if results <= proofs => {
            Err(ChainError::End(end_error(results < proofs, error)))
        }
        Err((_, error)) => Err(ChainError::Next(error)),
    }
}

/// Ends the backend from another connection, so that a statement that still runs in it lets go of the row.
pub(super) async fn abandon(store: &Store<Postgres>, tx: Tx<Postgres>) {
    let Some(pid) = tx.backend() else { return };
    let end = sqlx::query("select pg_catalog.pg_terminate_backend($1::int)").bind(pid);
    let ended = async {
        let mut connection = pool::beside(store).await?;
        end.execute(&mut connection).await?;
        connection.close().await
    };
    if let Err(error) = ended.await {
        tracing::warn!(%error, "an overdue attempt's connection could not be ended; its timeouts will");
    }
}

/// The proof of life, and COMMIT; says how many results there are before COMMIT's. The proof fails with 25P02 where
/// the transaction is aborted and with 2201G where it is not the claim's. Where neither can be, because all that was said
/// in it is known, it is left out: it costs the server as much as a third of an insert.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
fn write_commit(sql: &mut String, tx: &Tx<Postgres>, proof: &Xid) -> usize {
    if tx.untouched() == Some(proof.0) {
        sql.push_str("commit");
        return 0;
    }
    write!(sql, "execute eos_alive('{}'); commit", proof.0).expect("to a String");
    1
}

/// A BEGIN without a level takes the session's, which `open` sets to the weakest that PostgreSQL has; a handler that sets
/// another gets a stronger one. Every value is a
/// quoted literal: the server reads it by its type at once, where it would first make an `int4` or a `numeric` of a
/// bare number and then convert that.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
fn write_begin(sql: &mut String, schema: &str, options: StoreOptions, hold: &Hold<Ctid>, claim: Claim<'_>) {
    if hold.locator.wants_tidying() {
        sql.push_str(&hold.locator.tidy(schema));
    }
    sql.push_str(begin_words(options.isolation));
    let record = claim.record;
    write!(
        sql,
        "execute {}('{}','{}','{}','{}','{}','{}'",
        if claim.message_id.is_some() { "eos_claim" } else { "eos_advance" },
        hold.locator,
        hold.token.as_hyphenated(),
        hold.next_offset,
        record.offset,
        record.timestamp_ms,
        record.checksum,
    )
    .expect("to a String");
    if let Some(id) = claim.message_id {
        write!(sql, ",'{}','\\x", hold.stream).expect("to a String");
        for byte in id {
            sql.push(char::from(HEX[usize::from(byte >> 4)]));
            sql.push(char::from(HEX[usize::from(byte & 15)]));
        }
        sql.push('\'');
    }
    sql.push(')');
    sql.push_str(after_claim(options.isolation));
}

/// Where two transactions that read what the other writes are not let pass, a scan of a small table reads all of it, also
/// where one row is meant and said by its ctid: PostgreSQL would take the scan for cheaper.
/// Source: <https://www.postgresql.org/docs/current/transaction-iso.html#XACT-SERIALIZABLE>.
pub(super) fn begin_words(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "begin;",
        Isolation::RepeatableRead => "begin isolation level repeatable read;",
        Isolation::Serializable => "begin isolation level serializable; set local enable_seqscan = off;",
    }
}

/// What stands behind a claim: the handler's own statements are planned as everywhere.
pub(super) fn after_claim(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted | Isolation::RepeatableRead => "",
        Isolation::Serializable => ";set local enable_seqscan to default",
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Sends one message and keeps its last row; an error comes with the number of results before it.
pub(super) async fn message(
    connection: &mut PgConnection,
    sql: String,
) -> Result<Option<sqlx::postgres::PgRow>, (usize, sqlx::Error)> {
    let mut results = 0;
    let mut last = None;
    let mut stream = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
    loop {
        match stream.try_next().await {
            Ok(Some(Either::Left(_))) => results += 1,
            Ok(Some(Either::Right(row))) => last = Some(row),
            Ok(None) => return Ok(last),
            Err(error) => return Err((results, error)),
        }
    }
}

/// The claim's row: the new ctid, whether the inbox took the id, the transaction. No row: the position is not ours.
fn claim_answer(
    tx: &mut Tx<Postgres>,
    before: &Ctid,
    row: Option<sqlx::postgres::PgRow>,
) -> sqlx::Result<Answer<Postgres>> {
    // BEGIN has no row and a commit's proof has one column: only the claim's has three.
    let Some(row) = row.filter(|row| row.len() == 3) else {
        return Ok(Answer { position: None, inbox_fresh: false, proof: Xid(0) });
    };
    let transaction: &str = row.try_get_unchecked(2)?;
    let transaction = transaction.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    tx.watch(transaction);
    Ok(Answer {
        position: Some(before.moved_to(Ctid::parse(row.try_get_unchecked(0)?)?)),
        inbox_fresh: row.try_get_unchecked::<&str, _>(1)? == "t",
        proof: Xid(transaction),
    })
}

/// What a failed end means, by whether the proof or COMMIT failed and by class of SQLSTATE.
fn end_error(in_proof: bool, error: sqlx::Error) -> EndError {
    let state = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    match (in_proof, state.as_deref()) {
        // The proof was answered with an error, so COMMIT was not run. Or nothing was run: sqlx first reads what is left of
        // a statement that the handler did not wait for, and answers with its error.
        (true, Some("2201G" | "25P01")) => EndError::Strayed(error),
        (true, Some(_)) => EndError::RolledBack(error),
        // COMMIT itself: an answer of severity ERROR says that it was rolled back (a deferred constraint or trigger, a
        // serialization failure). 40003 says that the server does not know; FATAL ends the connection first.
        (_, Some(_)) if commit_rolled_back(&error) => EndError::RolledBack(error),
        (_, Some(_) | None) => EndError::InDoubt(error),
    }
}

/// Whether COMMIT's error says for certain that nothing was committed.
pub(super) fn commit_rolled_back(error: &sqlx::Error) -> bool {
    let state = error.as_database_error().and_then(|error| error.code());
    state.is_some_and(|state| state != "40003") && is_plain_error(error)
}

/// Whether the server said ERROR, after which the session goes on, and not FATAL or PANIC.
fn is_plain_error(error: &sqlx::Error) -> bool {
    let severity = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    severity.is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
}
