//! Taking a partition, and looking at what the row says.
//!
//! A take is a write, so it waits for whatever attempt is in flight in this file and reads the position which that
//! attempt committed.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row, Sqlite};
use uuid::Uuid;

use super::{RowId, attempt, lock};
use crate::store::dialect::{Store, StoreOptions};
use crate::store::{Begun, Held, Hold, KeySlot, LastRecord, PartitionKey, Standing, Stream};

pub(super) async fn take(
    store: &Store<Sqlite>,
    key: &PartitionKey,
    slot: i32,
    stream: Stream,
    start: i64,
    cluster: Option<&str>,
    options: StoreOptions,
) -> sqlx::Result<Option<Hold<RowId>>> {
    let mut tx = attempt::open(store.pool.acquire().await?).await?;
    let (_, turn) = lock::begin(store, &mut tx, options.patience(), None, "begin immediate").await?;
    let token = Uuid::new_v4();
    let taken = "set epoch = p.epoch + 1, owner = $4, cluster = coalesce(p.cluster, $5), \
                 taken_at = cast(strftime('%s', 'now') as integer)";
    let (schema, first) = (&store.schema, slot == 0);
    let sql = match first {
        true => format!(
            "insert into {schema}eos_position as p (group_id, topic, partition, epoch, owner, cluster, next_offset) \
             values ($1, $2, $3, 1, $4, $5, $6) on conflict (group_id, topic, partition, slot) do update {taken}"
        ),
        false => format!(
            "update {schema}eos_position as p {taken} \
             where group_id = $1 and topic = $2 and partition = $3 and slot = {slot}"
        ),
    };
    let sql = format!(
        "{sql} returning epoch, next_offset, last_offset, last_timestamp, last_checksum, cluster, id, attempts, slots"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(&*key.group)
        .bind(&*key.topic)
        .bind(key.partition)
        .bind(token)
        .bind(cluster);
    let row = if first { query.bind(start) } else { query }.fetch_optional(&mut tx).await?;
    super::statements(&mut tx, "commit".to_owned()).await.map_err(|(_, error)| error)?;
    drop(turn);
    attempt::close(tx).await?;
    let Some(row) = row else { return Ok(None) };
    let epoch: i64 = row.try_get(0)?;
    Ok(Some(Hold {
        key: key.clone(),
        slot: KeySlot { number: slot, of: row.try_get(8)? },
        stream: stream.id,
        token,
        epoch,
        next_offset: row.try_get(1)?,
        last: LastRecord::of_columns(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?),
        cluster: row.try_get::<Option<String>, _>(5)?.map(Into::into),
        locator: RowId(row.try_get(6)?),
        begun: Begun::of_number(row.try_get(7)?),
        created: epoch == 1,
    }))
}

/// The insert is a write, so it waits for its turn like an attempt.
pub(super) async fn stream(
    store: &Store<Sqlite>,
    group: &str,
    topic: &str,
    partitions: Option<i32>,
    options: StoreOptions,
) -> sqlx::Result<Stream> {
    let schema = &store.schema;
    let find =
        format!("select id, first_partitions from {schema}eos_stream where group_id = $1 and topic = $2");
    let make = format!(
        "insert into {schema}eos_stream (group_id, topic, first_partitions) values ($1, $2, $3) \
         on conflict do nothing"
    );
    loop {
        let query = sqlx::query_as(AssertSqlSafe(find.clone())).bind(group).bind(topic);
        if let Some((id, first_partitions)) = query.fetch_optional(&store.pool).await? {
            return Ok(Stream { id, first_partitions });
        }
        let query = sqlx::query(AssertSqlSafe(make.clone())).bind(group).bind(topic).bind(partitions);
        write(store, options, query).await?;
    }
}

pub(super) async fn note_begun(
    store: &Store<Sqlite>,
    hold: &Hold<RowId>,
    begun: Begun,
    options: StoreOptions,
) -> sqlx::Result<Option<RowId>> {
    let sql = format!(
        "update {}eos_position set attempts = $1 where id = $2 and owner = $3 and next_offset = $4",
        store.schema
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(begun.number())
        .bind(hold.locator.0)
        .bind(hold.token)
        .bind(hold.next_offset);
    Ok((write(store, options, query).await? == 1).then_some(hold.locator))
}

/// Turns the remembered checksum over: no record has it, and nothing else of the row is lost.
pub(super) async fn disown(store: &Store<Sqlite>, token: Uuid, options: StoreOptions) -> sqlx::Result<()> {
    let sql = format!(
        "update {}eos_position set last_checksum = 4294967295 - last_checksum where owner = $1",
        store.schema
    );
    write(store, options, sqlx::query(AssertSqlSafe(sql)).bind(token)).await.map(drop)
}

/// Runs one statement that writes, when it is its turn; how many rows it changed.
pub(super) async fn write(
    store: &Store<Sqlite>,
    options: StoreOptions,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> sqlx::Result<u64> {
    let mut tx = attempt::open(store.pool.acquire().await?).await?;
    let (_, turn) = lock::begin(store, &mut tx, options.patience(), None, "begin immediate").await?;
    let changed = query.execute(&mut *tx).await?.rows_affected();
    super::statements(&mut tx, "commit".to_owned()).await.map_err(|(_, error)| error)?;
    drop(turn);
    attempt::close(tx).await?;
    Ok(changed)
}

/// Tokens are random and a row's own, so they find it without its key.
pub(super) async fn standings(store: &Store<Sqlite>, holds: &[Held]) -> sqlx::Result<Vec<Standing>> {
    let tokens: Vec<_> = holds.iter().map(|held| format!("x'{}'", held.token.as_simple())).collect();
    let sql = format!(
        "select owner, next_offset from {}eos_position where owner in ({})",
        store.schema,
        tokens.join(",")
    );
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
    let standing = |token: &Uuid| match rows.iter().find(|(owner, _)| owner == token) {
        Some((_, next_offset)) => Standing::Ours { next_offset: *next_offset },
        None => Standing::Fenced,
    };
    Ok(holds.iter().map(|held| standing(&held.token)).collect())
}
