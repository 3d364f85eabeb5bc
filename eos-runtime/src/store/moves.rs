//! What moving positions by hand takes, beyond taking them: rows set down elsewhere, and ids forgotten or copied.
//!
//! Whoever moves a row has taken it first ([`Dialect::take`]), so that its earlier owner is fenced and the attempt in flight
//! is over; a row is found by the token of that take, and one that somebody took meanwhile is left alone.
//!
//! The inbox may hold tens of millions of ids. It is walked by stretches of its key, each of them one statement and one
//! transaction.

use std::future::Future;
use std::sync::Arc;

use uuid::Uuid;

use super::{Begun, Dialect, LastRecord, Store, Stream};

/// Ids in one stretch: well below a second. Tests have few ids, and want several stretches.
pub(crate) const STRETCH: i64 = if cfg!(test) { 100 } else { 10_000 };

/// Where a row that was taken is to stand.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    /// The take's.
    pub(crate) token: Uuid,
    pub(crate) next_offset: i64,
    pub(crate) last: Option<LastRecord>,
    pub(crate) begun: Begun,
    /// Whose log the position speaks of.
    pub(crate) cluster: Option<Arc<str>>,
}

/// A stretch of one stream's ids: behind the first, up to and with the last; `None` is the inbox's own beginning or end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch {
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) last: Option<Vec<u8>>,
}

/// A database whose positions can be moved by hand.
pub(crate) trait MoveDialect: Dialect {
    /// Sets rows down, all in one statement; says how many of them were still their taker's.
    fn set_down(store: &Store<Self>, rows: &[Moved]) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// The stream of a group and a topic, where there is one.
    fn known_stream(
        store: &Store<Self>,
        group: &str,
        topic: &str,
    ) -> impl Future<Output = sqlx::Result<Option<Stream>>> + Send;

    /// The last id of the stretch that begins behind this one; `None` where fewer than a stretch are left.
    fn end_of_stretch(
        store: &Store<Self>,
        stream: i32,
        after: Option<&[u8]>,
    ) -> impl Future<Output = sqlx::Result<Option<Vec<u8>>>> + Send;

    /// Deletes the ids of a stretch that are done; says how many.
    ///
    /// Those of records that are set aside stay. Such a record is in the table of dead letters, which is where a person
    /// has it handled again; read again with its id forgotten it would be tried, and set aside, a second time, and the
    /// replay of the first would not find the id that it has to turn into done.
    fn forget_done(
        store: &Store<Self>,
        stream: i32,
        stretch: &Stretch,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Copies the ids of a stretch, whatever became of them, to another stream; says how many were not there.
    fn copy_ids(
        store: &Store<Self>,
        from: i32,
        to: i32,
        stretch: &Stretch,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;
}

/// One impl per database, since sqlx's traits cannot be named for all of them at once: how an insert begins and ends that
/// passes over what is there, and the function that runs one statement which stands alone.
macro_rules! move_dialect {
    ($feature:literal, $database:ty, $insert:literal, $insert_end:literal, $write:path) => {
        #[cfg(feature = $feature)]
        impl MoveDialect for $database {
            async fn set_down(store: &Store<Self>, rows: &[Moved]) -> sqlx::Result<u64> {
                let sql = format!("update {}eos_position set ", store.schema);
                let mut query = sqlx::QueryBuilder::<$database>::new(sql);
                /// One column, told apart by the owner.
                macro_rules! column {
                    ($name:literal, $value:expr) => {
                        query.push(concat!($name, " = case owner"));
                        for row in rows {
                            query.push(" when ").push_bind(row.token).push(" then ").push_bind($value(row));
                        }
                        query.push(" end");
                    };
                }
                column!("next_offset", |row: &Moved| row.next_offset);
                query.push(", ");
                column!("last_offset", |row: &Moved| row.last.map(|last| last.offset));
                query.push(", ");
                column!("last_timestamp", |row: &Moved| row.last.map(|last| last.timestamp_ms));
                query.push(", ");
                column!("last_checksum", |row: &Moved| row.last.map(|last| i64::from(last.checksum)));
                query.push(", ");
                column!("attempts", |row: &Moved| row.begun.number());
                query.push(", ");
                column!("cluster", |row: &Moved| row.cluster.as_deref().map(str::to_owned));
                query.push(" where owner in (");
                let mut tokens = query.separated(", ");
                for row in rows {
                    tokens.push_bind(row.token);
                }
                query.push(")");
                $write(store, query.build().persistent(false)).await
            }

            async fn known_stream(
                store: &Store<Self>,
                group: &str,
                topic: &str,
            ) -> sqlx::Result<Option<Stream>> {
                let sql = format!("select id, first_partitions from {}eos_stream where group_id = ", store.schema);
                let mut query = sqlx::QueryBuilder::<$database>::new(sql);
                query.push_bind(group.to_owned()).push(" and topic = ").push_bind(topic.to_owned());
                let row: Option<(i32, Option<i32>)> =
                    query.build_query_as().persistent(false).fetch_optional(&store.pool).await?;
                Ok(row.map(|(id, first_partitions)| Stream { id, first_partitions }))
            }

            async fn end_of_stretch(
                store: &Store<Self>,
                stream: i32,
                after: Option<&[u8]>,
            ) -> sqlx::Result<Option<Vec<u8>>> {
                let sql = format!("select message_id from {}eos_inbox where stream = ", store.schema);
                let mut query = sqlx::QueryBuilder::<$database>::new(sql);
                query.push_bind(stream);
                if let Some(after) = after {
                    query.push(" and message_id > ").push_bind(after.to_vec());
                }
                query.push(format!(" order by message_id limit 1 offset {}", STRETCH - 1));
                query.build_query_scalar().persistent(false).fetch_optional(&store.pool).await
            }

            async fn forget_done(store: &Store<Self>, stream: i32, stretch: &Stretch) -> sqlx::Result<u64> {
                let sql = format!("delete from {}eos_inbox where outcome = 0 and stream = ", store.schema);
                let mut query = sqlx::QueryBuilder::<$database>::new(sql);
                query.push_bind(stream);
                if let Some(after) = &stretch.after {
                    query.push(" and message_id > ").push_bind(after.clone());
                }
                if let Some(last) = &stretch.last {
                    query.push(" and message_id <= ").push_bind(last.clone());
                }
                $write(store, query.build().persistent(false)).await
            }

            async fn copy_ids(
                store: &Store<Self>,
                from: i32,
                to: i32,
                stretch: &Stretch,
            ) -> sqlx::Result<u64> {
                let schema = &store.schema;
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "{} into {schema}eos_inbox (stream, message_id, outcome, seen_at) \
                     select {to}, message_id, outcome, seen_at from {schema}eos_inbox where stream = {from}",
                    $insert
                ));
                if let Some(after) = &stretch.after {
                    query.push(" and message_id > ").push_bind(after.clone());
                }
                if let Some(last) = &stretch.last {
                    query.push(" and message_id <= ").push_bind(last.clone());
                }
                query.push($insert_end);
                $write(store, query.build().persistent(false)).await
            }
        }
    };
}

move_dialect!("postgres", sqlx::Postgres, "insert", " on conflict do nothing", super::postgres::write);
move_dialect!("mysql", sqlx::MySql, "insert ignore", "", super::mysql::write);
move_dialect!("sqlite", sqlx::Sqlite, "insert", " on conflict do nothing", super::sqlite::write);
