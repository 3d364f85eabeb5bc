//! Lists, changes of state, and what replays ask of the table: said once for three databases.
//!
//! [`Words`] are what differs in the text; [`letter_dialect!`] is the implementation, since sqlx's traits cannot be named
//! for all databases at once.

use std::future::Future;

use uuid::Uuid;

use super::{Filter, ParkedRow, State, Stored, Unpublished, Verdict, WantedRow};
use crate::store::{Dialect, Hold, PartitionKey, Store};

/// The words in which databases differ. A function `write` stands beside each use of [`letter_dialect!`]: it runs one
/// statement that stands alone, and says how many rows it changed.
pub(crate) struct Words {
    pub(crate) partition: &'static str,
    pub(crate) key: &'static str,
    /// The time as the columns have it.
    pub(crate) stamp: &'static str,
    /// A column's time in milliseconds since 1970.
    pub(crate) millis_of: fn(&str) -> String,
    /// A whole number of eight bytes, as a type to cast to.
    pub(crate) big: &'static str,
    /// A position's token, as a literal.
    pub(crate) token: fn(Uuid) -> String,
}

impl Words {
    pub(crate) fn select(&self, schema: &str, more: &str) -> String {
        format!(
            "select id, state, group_id, topic, {}, record_offset, record_time, {}, payload, headers, message_id, listener, \
             attempts, reason, error, {}, tries, cast(case when edited_at is null then 0 else 1 end as {}){more} \
             from {schema}eos_dead_letter",
            self.partition,
            self.key,
            (self.millis_of)("set_aside_at"),
            self.big
        )
    }

    /// That the row belongs to a partition of which the owner of a slot has this token, still. A statement that says so on behalf of an owner
    /// that was replaced meanwhile changes nothing.
    pub(crate) fn owned(&self, schema: &str, token: Uuid) -> String {
        let (partition, token) = (self.partition, (self.token)(token));
        format!(
            "exists (select 1 from {schema}eos_position p where p.group_id = {schema}eos_dead_letter.group_id \
             and p.topic = {schema}eos_dead_letter.topic and p.{partition} = {schema}eos_dead_letter.{partition} \
             and p.owner = {token})"
        )
    }
}

/// What people and replays ask of the table.
pub(crate) trait LetterDialect: Dialect {
    /// The rows that are meant, the oldest first.
    fn letters(
        store: &Store<Self>,
        filter: &Filter,
    ) -> impl Future<Output = sqlx::Result<Vec<Stored>>> + Send;

    /// Changes the state of all that are meant; says how many.
    fn turn_to(
        store: &Store<Self>,
        filter: &Filter,
        to: State,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Gives one that is dead another payload, and keeps the one that came; says whether there was one.
    fn edit(
        store: &Store<Self>,
        id: i64,
        payload: Option<&[u8]>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// The partitions that have something to replay, or something parked that is to be tried now.
    fn wanted(store: &Store<Self>) -> impl Future<Output = sqlx::Result<Vec<PartitionKey>>> + Send;

    /// How many records are parked in each partition that has any.
    fn parked_counts(
        store: &Store<Self>,
    ) -> impl Future<Output = sqlx::Result<Vec<(PartitionKey, i64)>>> + Send;

    /// What is parked in a partition, in its order.
    fn parked(
        store: &Store<Self>,
        key: &PartitionKey,
    ) -> impl Future<Output = sqlx::Result<Vec<ParkedRow>>> + Send;

    /// A partition's rows that are to be replayed, behind the one of this number.
    fn wanted_in(
        store: &Store<Self>,
        key: &PartitionKey,
        after: i64,
    ) -> impl Future<Output = sqlx::Result<Vec<WantedRow>>> + Send;

    /// Writes down that a further attempt at a row begins; `false` where its state is another by now, or its partition
    /// another's.
    fn begin_try(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        letter: &Stored,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// Takes an attempt back that met an outage.
    fn forget_try(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        letter: &Stored,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Those of a partition that somebody wanted tried now are parked like others: they are due.
    fn heard(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        rows: &[i64],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// An attempt at a row came to nothing: what it becomes, and why; `false` where its state is another by now, or its
    /// partition another's.
    fn end_try(
        store: &Store<Self>,
        hold: &Hold<Self::Locator>,
        letter: &Stored,
        verdict: Verdict<'_>,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// What is to be written to a topic and is reserved for nobody; some, the oldest first.
    fn unpublished(
        store: &Store<Self>,
        now_ms: i64,
    ) -> impl Future<Output = sqlx::Result<Vec<Unpublished>>> + Send;

    /// Reserves one until then, where nobody else has meanwhile.
    fn reserve(
        store: &Store<Self>,
        id: i64,
        after: i64,
        until: i64,
    ) -> impl Future<Output = sqlx::Result<bool>> + Send;

    /// It is in its topic.
    fn published(store: &Store<Self>, id: i64) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// [`LetterDialect`] for one database.
macro_rules! letter_dialect {
    ($database:ty, $words:expr) => {
        impl $crate::store::dead_letter::LetterDialect for $database {
            async fn letters(store: &Store<Self>, filter: &Filter) -> sqlx::Result<Vec<Stored>> {
                let mut query = sqlx::QueryBuilder::<$database>::new($words.select(&store.schema, ""));
                push_condition(&mut query, filter);
                query.push(" order by id limit ").push_bind(filter.limit.unwrap_or(10_000));
                let rows = query.build().persistent(false).fetch_all(&store.pool).await?;
                rows.iter().map(stored).collect()
            }

            async fn turn_to(store: &Store<Self>, filter: &Filter, to: State) -> sqlx::Result<u64> {
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "update {}eos_dead_letter set state = {}, tries = 0, changed_at = {}",
                    store.schema,
                    to.number(),
                    $words.stamp
                ));
                push_condition(&mut query, filter);
                write(store, query.build().persistent(false)).await
            }

            async fn edit(store: &Store<Self>, id: i64, payload: Option<&[u8]>) -> sqlx::Result<bool> {
                // In this order: MySQL sets one column after the other.
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "update {}eos_dead_letter set \
                     original_payload = case when edited_at is null then payload else original_payload end, \
                     edited_at = {}, payload = ",
                    store.schema, $words.stamp
                ));
                query.push_bind(payload.map(<[u8]>::to_vec)).push(" where id = ").push_bind(id).push(" and state = 0");
                Ok(write(store, query.build().persistent(false)).await? == 1)
            }

            async fn wanted(store: &Store<Self>) -> sqlx::Result<Vec<PartitionKey>> {
                let sql = format!(
                    "select distinct group_id, topic, {} from {}eos_dead_letter where state in (2, 5)",
                    $words.partition, store.schema
                );
                let rows: Vec<(String, String, i32)> =
                    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
                let key = |(group, topic, partition): (String, String, i32)| PartitionKey {
                    group: group.into(),
                    topic: topic.into(),
                    partition,
                };
                Ok(rows.into_iter().map(key).collect())
            }

            async fn parked_counts(store: &Store<Self>) -> sqlx::Result<Vec<(PartitionKey, i64)>> {
                let sql = format!(
                    "select group_id, topic, {partition}, count(*) from {schema}eos_dead_letter \
                     where state in ({parked}) group by group_id, topic, {partition}",
                    partition = $words.partition,
                    schema = store.schema,
                    parked = State::Parked.alike()
                );
                let rows: Vec<(String, String, i32, i64)> =
                    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&store.pool).await?;
                let count = |(group, topic, partition, count): (String, String, i32, i64)| {
                    (PartitionKey { group: group.into(), topic: topic.into(), partition }, count)
                };
                Ok(rows.into_iter().map(count).collect())
            }

            async fn parked(store: &Store<Self>, key: &PartitionKey) -> sqlx::Result<Vec<ParkedRow>> {
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "select id, {key}, attempts, {now} - {last}, state, record_offset from {schema}eos_dead_letter \
                     where state in ({parked}) and {partition} = {number} and group_id = ",
                    key = $words.key,
                    now = ($words.millis_of)($words.stamp),
                    last = ($words.millis_of)("coalesce(changed_at, set_aside_at)"),
                    schema = store.schema,
                    parked = State::Parked.alike(),
                    partition = $words.partition,
                    number = key.partition,
                ));
                query.push_bind(key.group.to_string()).push(" and topic = ").push_bind(key.topic.to_string());
                query.push(" order by id");
                let rows = query.build().persistent(false).fetch_all(&store.pool).await?;
                let parked = |row: &<$database as sqlx::Database>::Row| {
                    Ok(ParkedRow {
                        id: row.try_get(0)?,
                        key: row.try_get(1)?,
                        attempts: row.try_get::<i32, _>(2)?.unsigned_abs(),
                        rested_ms: row.try_get(3)?,
                        urged: row.try_get::<i16, _>(4)? == State::Urged.number(),
                        offset: row.try_get(5)?,
                    })
                };
                rows.iter().map(parked).collect()
            }

            async fn wanted_in(
                store: &Store<Self>,
                key: &PartitionKey,
                after: i64,
            ) -> sqlx::Result<Vec<$crate::store::WantedRow>> {
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "select id, {}, record_offset from {}eos_dead_letter where state = {} and id > {after} and {} = {} \
                     and group_id = ",
                    $words.key, store.schema, State::Wanted.number(), $words.partition, key.partition,
                ));
                query.push_bind(key.group.to_string()).push(" and topic = ").push_bind(key.topic.to_string());
                query.push(" order by id limit 1000");
                query.build_query_as().persistent(false).fetch_all(&store.pool).await
            }

            async fn begin_try(
                store: &Store<Self>,
                hold: &Hold<Self::Locator>,
                letter: &Stored,
            ) -> sqlx::Result<bool> {
                let sql = format!(
                    "update {}eos_dead_letter set tries = tries + 1, attempts = attempts + 1 \
                     where id = {} and state in ({}) and {}",
                    store.schema,
                    letter.id,
                    letter.state.alike(),
                    $words.owned(&store.schema, hold.token)
                );
                Ok(write(store, sqlx::query(AssertSqlSafe(sql)).persistent(false)).await? == 1)
            }

            async fn forget_try(
                store: &Store<Self>,
                hold: &Hold<Self::Locator>,
                letter: &Stored,
            ) -> sqlx::Result<()> {
                let sql = format!(
                    "update {}eos_dead_letter set tries = tries - 1, attempts = attempts - 1 \
                     where id = {} and state in ({}) and tries > 0 and {}",
                    store.schema,
                    letter.id,
                    letter.state.alike(),
                    $words.owned(&store.schema, hold.token)
                );
                write(store, sqlx::query(AssertSqlSafe(sql)).persistent(false)).await.map(drop)
            }

            async fn heard(
                store: &Store<Self>,
                hold: &Hold<Self::Locator>,
                rows: &[i64],
            ) -> sqlx::Result<()> {
                let rows: Vec<_> = rows.iter().map(i64::to_string).collect();
                let sql = format!(
                    "update {}eos_dead_letter set state = {} where state = {} and id in ({}) and {}",
                    store.schema,
                    State::Parked.number(),
                    State::Urged.number(),
                    if rows.is_empty() { "null".to_owned() } else { rows.join(", ") },
                    $words.owned(&store.schema, hold.token)
                );
                write(store, sqlx::query(AssertSqlSafe(sql)).persistent(false)).await.map(drop)
            }

            async fn end_try(
                store: &Store<Self>,
                hold: &Hold<Self::Locator>,
                letter: &Stored,
                verdict: Verdict<'_>,
            ) -> sqlx::Result<bool> {
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "update {}eos_dead_letter set state = {}, attempts = {}, tries = 0, changed_at = {}, reason = ",
                    store.schema,
                    verdict.to.number(),
                    i32::try_from(verdict.attempts).unwrap_or(i32::MAX),
                    $words.stamp
                ));
                query.push_bind(verdict.reason.word()).push(", error = ");
                query.push_bind($crate::store::dead_letter::storable(verdict.error).into_owned());
                if let Some(topic) = verdict.publish_to {
                    query.push(", publish_to = ").push_bind(topic.to_owned());
                }
                query.push(format!(
                    " where id = {} and state in ({}) and {}",
                    letter.id,
                    letter.state.alike(),
                    $words.owned(&store.schema, hold.token)
                ));
                Ok(write(store, query.build().persistent(false)).await? == 1)
            }

            async fn unpublished(store: &Store<Self>, now_ms: i64) -> sqlx::Result<Vec<Unpublished>> {
                let sql = format!(
                    "{} where publish_to is not null and publish_after <= {now_ms} order by id limit 100",
                    $words.select(&store.schema, ", publish_to, publish_after")
                );
                let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&store.pool).await?;
                let unpublished = |row| {
                    Ok(Unpublished { stored: stored(row)?, to: row.try_get(18)?, after: row.try_get(19)? })
                };
                rows.iter().map(unpublished).collect()
            }

            async fn reserve(store: &Store<Self>, id: i64, after: i64, until: i64) -> sqlx::Result<bool> {
                let sql = format!(
                    "update {}eos_dead_letter set publish_after = {until} \
                     where id = {id} and publish_to is not null and publish_after = {after}",
                    store.schema
                );
                Ok(write(store, sqlx::query(AssertSqlSafe(sql)).persistent(false)).await? == 1)
            }

            async fn published(store: &Store<Self>, id: i64) -> sqlx::Result<()> {
                let sql = format!("update {}eos_dead_letter set publish_to = null where id = {id}", store.schema);
                write(store, sqlx::query(AssertSqlSafe(sql)).persistent(false)).await.map(drop)
            }
        }

        fn push_condition(query: &mut sqlx::QueryBuilder<$database>, filter: &Filter) {
            let states: Vec<_> = filter.states.iter().map(|state| state.number().to_string()).collect();
            query.push(format!(" where state in ({})", if states.is_empty() { "null".to_owned() } else { states.join(", ") }));
            if let Some(ids) = &filter.ids {
                let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
                query.push(format!(" and id in ({})", if ids.is_empty() { "null".to_owned() } else { ids.join(", ") }));
            }
            if let Some(group) = &filter.group {
                query.push(" and group_id = ").push_bind(group.clone());
            }
            if let Some(topic) = &filter.topic {
                query.push(" and topic = ").push_bind(topic.clone());
            }
            if let Some(partition) = filter.partition {
                query.push(format!(" and {} = {partition}", $words.partition));
            }
            if let Some(since) = filter.since_ms {
                query.push(format!(" and {} >= {since}", ($words.millis_of)("set_aside_at")));
            }
            if let Some(key) = &filter.record_key {
                query.push(format!(" and {} = ", $words.key)).push_bind(key.clone());
            }
            if let Some(reason) = &filter.reason {
                query.push(" and reason = ").push_bind(reason.clone());
            }
        }

        fn stored(row: &<$database as sqlx::Database>::Row) -> sqlx::Result<Stored> {
            let columns = $crate::store::dead_letter::Columns {
                id: row.try_get(0)?,
                state: row.try_get(1)?,
                group: row.try_get(2)?,
                topic: row.try_get(3)?,
                partition: row.try_get(4)?,
                offset: row.try_get(5)?,
                time: row.try_get(6)?,
                key: row.try_get(7)?,
                payload: row.try_get(8)?,
                headers: row.try_get(9)?,
            };
            Ok(Stored {
                message_id: row.try_get(10)?,
                listener: row.try_get(11)?,
                attempts: row.try_get::<i32, _>(12)?.unsigned_abs(),
                reason: row.try_get(13)?,
                error: row.try_get(14)?,
                set_aside_ms: row.try_get(15)?,
                tries: row.try_get::<i32, _>(16)?.unsigned_abs(),
                edited: row.try_get::<i64, _>(17)? == 1,
                ..columns.into_stored().map_err(sqlx::Error::Decode)?
            })
        }
    };
}
pub(crate) use letter_dialect;
