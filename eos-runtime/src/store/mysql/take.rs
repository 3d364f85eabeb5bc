//! Taking a partition, and looking at what the row says.
//!
//! A take updates the row, so it waits for the attempt in flight and reads the position which that attempt
//! committed. It waits in short steps, and looks between them who holds the row: a claim writes its connection and
//! its time into the row, which READ UNCOMMITTED shows while it is in flight. Only a change in flight names the
//! holder; a row that looks the same committed and uncommitted is held by a stranger, whom nobody ends.

use std::time::Duration;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection, MySql, Row};
use uuid::Uuid;

use super::attempt::{Limits, close, session, whole_seconds};
use super::{RowId, message, number, pool, run};
use crate::listener::spec::Isolation;
use crate::store::dialect::{Store, StoreOptions};
use crate::store::{Begun, Held, Hold, KeySlot, LastRecord, PartitionKey, Standing, Stream, Tx};

/// Seconds until a waiting taker looks whom it waits for.
const STEP: u64 = 1;

pub(super) async fn take(
    store: &Store<MySql>,
    key: &PartitionKey,
    slot: i32,
    stream: Stream,
    start: i64,
    cluster: Option<&str>,
    options: StoreOptions,
) -> sqlx::Result<Option<Hold<RowId>>> {
    let mut tx = begin(store, options).await?;
    let token = Uuid::new_v4();
    loop {
        match try_take(store, &mut tx, (key, slot), start, cluster, token, options).await {
            Ok(row) => {
                run(&mut tx, "commit").await?;
                close(tx).await?;
                return row.map(|row| hold(key, slot, stream.id, token, &row)).transpose();
            }
            Err(error) => match number(&error) {
                Some(1205) => {
                    run(&mut tx, "rollback").await?;
                    end_holder(store, &mut tx, (key, slot)).await;
                }
                // A deadlock, or another made the row at the same time.
                Some(1213 | 1062 | 1020) => run(&mut tx, "rollback").await?,
                Some(_) | None => return Err(error),
            },
        }
    }
}

/// A session that takes rows. If this process falls asleep in it, the server ends it.
pub(super) async fn begin(store: &Store<MySql>, options: StoreOptions) -> sqlx::Result<Tx<MySql>> {
    let limits =
        Limits { statement: Duration::ZERO, lock_wait_s: STEP, idle_s: whole_seconds(options.patience()) };
    session(store.pool.acquire().await?, Isolation::ReadCommitted, limits).await
}

/// Names that the columns would cut or confuse. `=` ignores spaces at the end.
fn storable(what: &str, name: &str) -> sqlx::Result<()> {
    if name.chars().count() <= 255 && !name.ends_with(' ') {
        return Ok(());
    }
    Err(sqlx::Error::Configuration(
        format!("the {what} `{name}` cannot be a key in MySQL: use at most 255 characters, and no space at the end").into(),
    ))
}

/// Updates the row, or makes it where it is the first. Found by its number, so that the wait holds no lock on the keys beside
/// it.
async fn try_take(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    (key, slot): (&PartitionKey, i32),
    start: i64,
    cluster: Option<&str>,
    token: Uuid,
    options: StoreOptions,
) -> sqlx::Result<Option<MySqlRow>> {
    let schema = &store.schema;
    let held = whole_seconds(options.patience());
    let id = match find(store, tx, (key, slot)).await? {
        Some(id) => {
            let update = format!(
                "update {schema}eos_position set epoch = epoch + 1, owner = ?, taken_at = unix_timestamp(), \
                 cluster = coalesce(cluster, ?), `connection` = connection_id(), \
                 held_until = unix_timestamp() + {held} where id = ?"
            );
            sqlx::query(AssertSqlSafe(update)).bind(token).bind(cluster).bind(id).execute(&mut **tx).await?;
            id
        }
        None if slot > 0 => return Ok(None),
        None => {
            let insert = format!(
                "insert into {schema}eos_position (group_id, topic, `partition`, epoch, owner, cluster, next_offset, \
                 taken_at, `connection`, held_until) \
                 values (?, ?, ?, 1, ?, ?, ?, unix_timestamp(), connection_id(), unix_timestamp() + {held})"
            );
            let made = sqlx::query(AssertSqlSafe(insert))
                .bind(&*key.group)
                .bind(&*key.topic)
                .bind(key.partition)
                .bind(token)
                .bind(cluster)
                .bind(start)
                .execute(&mut **tx)
                .await?;
            i64::try_from(made.last_insert_id()).unwrap_or_default()
        }
    };
    let select = format!(
        "select id, epoch, next_offset, last_offset, last_timestamp, last_checksum, cluster, attempts, slots \
         from {schema}eos_position where id = ?"
    );
    // One that was there may have gone away with other slots.
    sqlx::query(AssertSqlSafe(select)).bind(id).fetch_optional(&mut **tx).await
}

async fn find(
    store: &Store<MySql>,
    tx: &mut Tx<MySql>,
    (key, slot): (&PartitionKey, i32),
) -> sqlx::Result<Option<i64>> {
    let sql = format!(
        "select id from {}eos_position where group_id = ? and topic = ? and `partition` = ? and slot = {slot}",
        store.schema
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(&*key.group)
        .bind(&*key.topic)
        .bind(key.partition)
        .fetch_optional(&mut **tx)
        .await
}

fn hold(
    key: &PartitionKey,
    slot: i32,
    stream: i32,
    token: Uuid,
    row: &MySqlRow,
) -> sqlx::Result<Hold<RowId>> {
    let epoch = row.try_get(1)?;
    Ok(Hold {
        key: key.clone(),
        slot: KeySlot { number: slot, of: row.try_get(8)? },
        stream,
        token,
        epoch,
        next_offset: row.try_get(2)?,
        last: LastRecord::of_columns(row.try_get(3)?, row.try_get(4)?, row.try_get(5)?),
        cluster: row.try_get::<Option<String>, _>(6)?.map(Into::into),
        created: epoch == 1,
        locator: RowId(row.try_get(0)?),
        begun: Begun::of_number(row.try_get(7)?),
    })
}

/// Looks before it inserts: an insert that finds its row uses up a number all the same.
pub(super) async fn stream(
    store: &Store<MySql>,
    group: &str,
    topic: &str,
    partitions: Option<i32>,
) -> sqlx::Result<Stream> {
    storable("group", group)?;
    storable("topic", topic)?;
    let schema = &store.schema;
    let find =
        format!("select id, first_partitions from {schema}eos_stream where group_id = ? and topic = ?");
    let make = format!(
        "insert into {schema}eos_stream (group_id, topic, first_partitions) values (?, ?, ?) \
         on duplicate key update id = id"
    );
    loop {
        let query = sqlx::query_as(AssertSqlSafe(find.clone())).bind(group).bind(topic);
        if let Some((id, first_partitions)) = query.fetch_optional(&store.pool).await? {
            return Ok(Stream { id, first_partitions });
        }
        let query = sqlx::query(AssertSqlSafe(make.clone())).bind(group).bind(topic).bind(partitions);
        query.execute(&store.pool).await?;
    }
}

/// Ends the connection whose change of the row is in flight, once its own time is over.
async fn end_holder(store: &Store<MySql>, tx: &mut Tx<MySql>, (key, slot): (&PartitionKey, i32)) {
    let ended = async {
        let Some(id) = find(store, tx, (key, slot)).await? else { return Ok(None) };
        run(tx, "rollback").await?;
        let row = format!("from {}eos_position where id = {id}", store.schema);
        let look = format!(
            "set transaction isolation level read uncommitted; \
             select epoch, last_offset, `connection`, held_until, held_until < unix_timestamp() {row}; commit; \
             select epoch, last_offset, `connection`, held_until {row}; commit"
        );
        let looks = message(tx, look).await.map_err(|(_, error)| error)?.rows;
        let [in_flight, committed] = looks.as_slice() else { return Ok(None) };
        if change(in_flight)? == change(committed)? || !in_flight.try_get_unchecked::<bool, _>(4)? {
            return Ok(None);
        }
        let holder: i64 = in_flight.try_get_unchecked(2)?;
        let mut connection = pool::beside(store).await?;
        run(&mut connection, format!("kill {holder}")).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(Some(holder))
    };
    match ended.await {
        Ok(None) => tracing::debug!(%key, "still waiting for the attempt of the earlier owner"),
        Ok(Some(connection)) => {
            tracing::warn!(%key, connection, "ended the earlier owner's transaction: it outlived its deadline");
        }
        Err(error) => tracing::warn!(
            %key, %error,
            "could not end the earlier owner's transaction; let all of the service use one database user"
        ),
    }
}

/// What every take, claim or replay changes.
fn change(row: &MySqlRow) -> sqlx::Result<(i64, Option<i64>, i64, i64)> {
    Ok((
        row.try_get_unchecked(0)?,
        row.try_get_unchecked(1)?,
        row.try_get_unchecked(2)?,
        row.try_get_unchecked(3)?,
    ))
}

/// sqlx counts the rows that were found, also where nothing had to be changed.
pub(super) async fn note_begun(
    store: &Store<MySql>,
    hold: &Hold<RowId>,
    begun: Begun,
) -> sqlx::Result<Option<RowId>> {
    let sql = format!(
        "update {}eos_position set attempts = ? where id = ? and owner = ? and next_offset = ?",
        store.schema
    );
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(begun.number())
        .bind(hold.locator.0)
        .bind(hold.token)
        .bind(hold.next_offset)
        .execute(&store.pool)
        .await?;
    Ok((found.rows_affected() == 1).then_some(hold.locator))
}

/// Turns the remembered checksum over: no record has it, and nothing else of the row is lost.
pub(super) async fn disown(store: &Store<MySql>, token: Uuid) -> sqlx::Result<()> {
    let sql = format!(
        "update {}eos_position set last_checksum = 4294967295 - last_checksum where owner = ?",
        store.schema
    );
    sqlx::query(AssertSqlSafe(sql)).bind(token).execute(&store.pool).await.map(drop)
}

/// Tokens are random and a row's own, so they find it without its key.
pub(super) async fn standings(store: &Store<MySql>, holds: &[Held]) -> sqlx::Result<Vec<Standing>> {
    if holds.is_empty() {
        return Ok(Vec::new());
    }
    let tokens: Vec<_> = holds.iter().map(|held| format!("x'{}'", held.token.as_simple())).collect();
    let sql = format!(
        "select owner, next_offset from {}eos_position where owner in ({})",
        store.schema,
        tokens.join(",")
    );
    // As text, so that the server does not keep a prepared statement for every number of holds.
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    let rows = rows
        .iter()
        .map(|row| Ok((row.try_get_unchecked(0)?, row.try_get_unchecked(1)?)))
        .collect::<sqlx::Result<Vec<(Uuid, i64)>>>()?;
    let standing = |token: &Uuid| match rows.iter().find(|(owner, _)| owner == token) {
        Some((_, next_offset)) => Standing::Ours { next_offset: *next_offset },
        None => Standing::Fenced,
    };
    Ok(holds.iter().map(|held| standing(&held.token)).collect())
}
