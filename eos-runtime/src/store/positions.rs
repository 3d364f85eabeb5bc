//! What people ask of `eos_position`: how far each group has come, said once for three databases.
//!
//! It only reads, and takes no lock: a position may have moved by the time somebody looks at it.

use std::future::Future;

use super::{Dialect, PartitionKey, Store};

/// A partition in the table, as far as people ask.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) key: PartitionKey,
    /// Of the lowest of its slots, as all that follows is of the one that says most.
    pub(crate) next_offset: i64,
    pub(crate) slots: i32,
    pub(crate) epoch: i64,
    pub(crate) attempts: u32,
    /// Milliseconds since 1970.
    pub(crate) taken_ms: i64,
    pub(crate) cluster: Option<String>,
}

/// A database that can be asked for positions.
pub(crate) trait PositionDialect: Dialect {
    /// Those of a group and a topic, or of all, in the order of group, topic and partition.
    fn positions(
        store: &Store<Self>,
        group: Option<&str>,
        topic: Option<&str>,
    ) -> impl Future<Output = sqlx::Result<Vec<Reached>>> + Send;
}

/// One impl per database, since sqlx's traits cannot be named for all of them at once: how the column `partition` is
/// written, and the time of the take in milliseconds since 1970.
macro_rules! position_dialect {
    ($feature:literal, $database:ty, $partition:literal, $taken_ms:literal) => {
        #[cfg(feature = $feature)]
        impl PositionDialect for $database {
            async fn positions(
                store: &Store<Self>,
                group: Option<&str>,
                topic: Option<&str>,
            ) -> sqlx::Result<Vec<Reached>> {
                let mut query = sqlx::QueryBuilder::<$database>::new(format!(
                    "select group_id, topic, {}, min(next_offset), max(epoch), max(attempts), max({}), max(cluster), \
                     max(slots) from {}eos_position where 1 = 1",
                    $partition, $taken_ms, store.schema
                ));
                if let Some(group) = group {
                    query.push(" and group_id = ").push_bind(group.to_owned());
                }
                if let Some(topic) = topic {
                    query.push(" and topic = ").push_bind(topic.to_owned());
                }
                query.push(concat!(" group by group_id, topic, ", $partition, " order by 1, 2, 3"));
                let rows: Vec<Row> = query.build_query_as().persistent(false).fetch_all(&store.pool).await?;
                Ok(rows.into_iter().map(Reached::from).collect())
            }
        }
    };
}

position_dialect!("postgres", sqlx::Postgres, "partition", "(extract(epoch from taken_at) * 1000)::bigint");
position_dialect!("mysql", sqlx::MySql, "`partition`", "taken_at * 1000");
position_dialect!("sqlite", sqlx::Sqlite, "partition", "taken_at * 1000");

/// Group, topic and partition; next offset, epoch, attempts, the time of the take, the cluster and the slots.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
type Row = (String, String, i32, i64, i64, i32, i64, Option<String>, i32);

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
impl From<Row> for Reached {
    fn from((group, topic, partition, next_offset, epoch, attempts, taken_ms, cluster, slots): Row) -> Self {
        Reached {
            key: PartitionKey { group: group.into(), topic: topic.into(), partition },
            next_offset,
            slots,
            epoch,
            // A group that began is no attempt at any one record.
            attempts: u32::try_from(attempts).unwrap_or_default(),
            taken_ms,
            cluster,
        }
    }
}
