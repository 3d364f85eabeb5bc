//! Taking a partition, and looking at what the row says.
//!
//! A take updates the row, so it waits for the attempt in flight and reads the position which that attempt
//! committed. If the holder sleeps with the lock, it would wait for ever: past the deadline a second connection ends
//! the transaction that holds the row, and only one that is older than its own deadline and is not itself waiting.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Postgres, Row, SqlSafeStr};
use uuid::Uuid;

use super::Ctid;
use super::pool::{self, APPLICATION_NAME};
use crate::store::dialect::{Store, StoreOptions};
use crate::store::tx::OnDrop;
use crate::store::{Begun, Held, Hold, KeySlot, LastRecord, PartitionKey, Standing, Stream, Tx};

/// How often a taker whose patience is over looks whom it waits for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn take(
    store: &Store<Postgres>,
    key: &PartitionKey,
    slot: i32,
    stream: Stream,
    start: i64,
    cluster: Option<&str>,
    options: StoreOptions,
) -> sqlx::Result<Option<Hold<Ctid>>> {
    let mut tx = begin(store, options).await?;
    let pid: i32 = sqlx::query_scalar("select pg_catalog.pg_backend_pid()").fetch_one(&mut tx).await?;

    let token = Uuid::new_v4();
    let taken = "set epoch = p.epoch + 1, owner = $4, taken_at = now(), cluster = coalesce(p.cluster, $5)";
    let (schema, first) = (&store.schema, slot == 0);
    let sql = match first {
        true => format!(
            "insert into {schema}eos_position as p (group_id, topic, partition, epoch, owner, cluster, next_offset) \
             values ($1, $2, $3, 1, $4, $5, $6) on conflict (group_id, topic, partition, slot) do update {taken}"
        ),
        false => format!(
            "update {schema}eos_position p {taken} \
             where group_id = $1 and topic = $2 and partition = $3 and slot = {slot}"
        ),
    };
    let sql = format!(
        "{sql} returning epoch, next_offset, last_offset, last_timestamp, last_checksum, cluster, ctid::text, \
         epoch = 1, attempts, slots"
    );
    let row = {
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(&*key.group)
            .bind(&*key.topic)
            .bind(key.partition)
            .bind(token)
            .bind(cluster);
        let query = if first { query.bind(start) } else { query };
        let mut taking = std::pin::pin!(query.fetch_optional(&mut tx));
        let mut wait = options.patience();
        loop {
            tokio::select! {
                row = &mut taking => break row?,
                () = tokio::time::sleep(wait) => end_holders(store, pid, key).await,
            }
            wait = LOOK_AGAIN;
        }
    };
    tx.commit_plainly().await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Hold {
        key: key.clone(),
        slot: KeySlot { number: slot, of: row.try_get(9)? },
        stream: stream.id,
        token,
        epoch: row.try_get(0)?,
        next_offset: row.try_get(1)?,
        last: LastRecord::of_columns(row.try_get(2)?, row.try_get(3)?, row.try_get(4)?),
        cluster: row.try_get::<Option<String>, _>(5)?.map(Into::into),
        locator: Ctid::parse(row.try_get(6)?)?,
        created: row.try_get(7)?,
        begun: Begun::of_number(row.try_get(8)?),
    }))
}

/// Begins a transaction that takes rows. By another name than an attempt's, because the wait makes it old: who waits behind it
/// must not take it for one that overran. If this process falls asleep in it, the server ends it.
pub(super) async fn begin(store: &Store<Postgres>, options: StoreOptions) -> sqlx::Result<Tx<Postgres>> {
    let begin = format!(
        "begin isolation level read committed; set local application_name = '{APPLICATION_NAME} take'; \
         set local statement_timeout = 0; set local lock_timeout = 0; \
         set local idle_in_transaction_session_timeout = {}",
        options.patience().as_millis()
    );
    let connection = store.pool.acquire().await?;
    Tx::begin_with(connection, Some(AssertSqlSafe(begin).into_sql_str()), OnDrop::Discard).await
}

/// Looks before it inserts: an insert that finds its row uses up a number all the same.
pub(super) async fn stream(
    store: &Store<Postgres>,
    group: &str,
    topic: &str,
    partitions: Option<i32>,
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
        query.execute(&store.pool).await?;
    }
}

/// Ends whoever holds what `waiting` waits for, where its transaction is older than its own deadline allows, which
/// its name tells. On a connection of its own: the pool's may all be waiting like this one. The holder is found before
/// anyone is ended (`materialized`): among conditions of one WHERE the planner runs the cheapest first, and ending
/// costs little.
async fn end_holders(store: &Store<Postgres>, waiting: i32, key: &PartitionKey) {
    let query = sqlx::query_scalar::<_, i32>(
        "with holder as materialized ( \
           select a.pid from pg_catalog.pg_stat_activity a \
           where a.pid = any(pg_catalog.pg_blocking_pids($1)) and a.wait_event_type is distinct from 'Lock' \
             and clock_timestamp() - a.xact_start > interval '1 millisecond' \
               * substring(a.application_name from '^' || $2 || ' ([0-9]{1,15})$')::bigint) \
         select pid from (select pid, pg_catalog.pg_terminate_backend(pid) as ended from holder offset 0) e where ended",
    )
    .bind(waiting)
    .bind(APPLICATION_NAME);
    let ended = async {
        let mut connection = pool::beside(store).await?;
        let ended = query.fetch_all(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(ended)
    };
    match ended.await {
        Ok(pids) if pids.is_empty() => {
            tracing::info!(%key, "still waiting for the attempt of the earlier owner")
        }
        Ok(pids) => {
            tracing::warn!(%key, ?pids, "ended the earlier owner's transaction: it outlived its deadline")
        }
        Err(error) => tracing::warn!(
            %key, %error,
            "could not end the earlier owner's transaction; give the database user the role `pg_signal_backend`"
        ),
    }
}

/// By its key: the row may have been moved since the last claim, and this is not the hot path.
pub(super) async fn note_begun(
    store: &Store<Postgres>,
    hold: &Hold<Ctid>,
    begun: Begun,
) -> sqlx::Result<Option<Ctid>> {
    let sql = format!(
        "update {}eos_position set attempts = $1 where group_id = $2 and topic = $3 and partition = $4 and slot = {} \
         and owner = $5 and next_offset = $6 returning ctid::text",
        store.schema, hold.slot.number
    );
    let row: Option<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(begun.number())
        .bind(&*hold.key.group)
        .bind(&*hold.key.topic)
        .bind(hold.key.partition)
        .bind(hold.token)
        .bind(hold.next_offset)
        .fetch_optional(&store.pool)
        .await?;
    row.map(|ctid| Ctid::parse(&ctid)).transpose()
}

/// Turns the remembered checksum over: no record has it, and nothing else of the row is lost.
pub(super) async fn disown(store: &Store<Postgres>, token: Uuid) -> sqlx::Result<()> {
    let sql = format!(
        "update {}eos_position set last_checksum = 4294967295 - last_checksum where owner = $1",
        store.schema
    );
    sqlx::query(AssertSqlSafe(sql)).bind(token).execute(&store.pool).await.map(drop)
}

pub(super) async fn standings(store: &Store<Postgres>, holds: &[Held]) -> sqlx::Result<Vec<Standing>> {
    let sql = format!(
        "select p.owner is not distinct from h.token, p.next_offset \
         from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::uuid[]) \
              with ordinality h(grp, topic, partition, slot, token, n) \
         left join {}eos_position p \
         on p.group_id = h.grp and p.topic = h.topic and p.partition = h.partition and p.slot = h.slot order by h.n",
        store.schema
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(holds.iter().map(|held| held.key.group.to_string()).collect::<Vec<_>>())
        .bind(holds.iter().map(|held| held.key.topic.to_string()).collect::<Vec<_>>())
        .bind(holds.iter().map(|held| held.key.partition).collect::<Vec<_>>())
        .bind(holds.iter().map(|held| held.slot.number).collect::<Vec<_>>())
        .bind(holds.iter().map(|held| held.token).collect::<Vec<_>>())
        .fetch_all(&store.pool)
        .await?;
    rows.iter()
        .map(|row| {
            let ours: bool = row.try_get(0)?;
            Ok(if ours { Standing::Ours { next_offset: row.try_get(1)? } } else { Standing::Fenced })
        })
        .collect()
}
