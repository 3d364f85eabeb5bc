//! How far each group has come in each partition, as the database knows it: for people and tools.
//!
//! These rows decide where reading goes on; what Kafka's own tools show of a group follows them a little later.
//!
//! A group that is stopped can be sent elsewhere ([`Positions::reset`]), or carry on under another name
//! ([`Positions::copy`]). The command line tool `eos` does both, and asks Kafka first whether the group runs.

mod copy;
mod error;
mod moving;
mod reset;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::Pool;

use crate::store::{Home, MoveDialect, PositionDialect, Reached, Store, TxDatabase};

pub use copy::{Copied, CopiedTopic, CopyGroup};
pub use error::MoveError;
pub use reset::{Reset, ResetDone, ResetPartition};

/// The positions in one database.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> sqlx::Result<()> {
/// use eos_runtime::positions::Positions;
///
/// for position in Positions::of(&pool).list(Some("billing"), None).await? {
///     println!("{}/{} goes on at {}", position.topic, position.partition, position.next_offset);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Positions<DB: PositionDatabase> {
    store: Store<DB>,
}

/// How far a group has come in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Position {
    /// Whose position it is.
    pub group: String,
    /// Where it reads.
    pub topic: String,
    /// Where it reads.
    pub partition: i32,
    /// The offset to go on with: what is before it is done. Where the keys are split into slots, that of the lowest.
    pub next_offset: i64,
    /// Into how many slots the partition's keys are split (`key_slots`); 1 where they are not.
    pub slots: i32,
    /// How often the partition was taken by a process.
    pub epoch: i64,
    /// Attempts at the next record, as far as they are counted in the database.
    pub attempts: u32,
    /// When it was taken last, by the database's clock.
    pub taken_at: SystemTime,
    /// The Kafka cluster whose log it speaks of, by the id that its brokers say, where that is known.
    pub cluster: Option<String>,
}

/// A database whose positions can be looked at and moved: every one that eos knows.
#[expect(private_bounds, reason = "what is asked of the table is nobody else's to answer")]
pub trait PositionDatabase: TxDatabase + PositionDialect + MoveDialect {}

impl<DB: TxDatabase + PositionDialect + MoveDialect> PositionDatabase for DB {}

impl<DB: PositionDatabase> Positions<DB> {
    /// Those of a pool's database, in the schema that the settings of this process say for it.
    pub fn of(pool: &Pool<DB>) -> Self {
        Positions { store: Store::of(pool.clone(), Home::of(pool)) }
    }

    /// Those in this schema of a pool's database; for tools that have no settings.
    pub fn in_schema(pool: &Pool<DB>, schema: &str) -> Self {
        Positions { store: Store::new(pool.clone(), DB::qualified(schema)) }
    }

    /// Those of a store, for its own tests.
    #[cfg(test)]
    pub(crate) fn in_store(store: Store<DB>) -> Self {
        Positions { store }
    }

    /// Lists them, of a group and a topic where these are said, in the order of group, topic and partition.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn list(&self, group: Option<&str>, topic: Option<&str>) -> sqlx::Result<Vec<Position>> {
        Ok(DB::positions(&self.store, group, topic).await?.into_iter().map(Position::from).collect())
    }
}

impl From<Reached> for Position {
    fn from(reached: Reached) -> Self {
        let Reached { key, next_offset, slots, epoch, attempts, taken_ms, cluster } = reached;
        Position {
            group: key.group.to_string(),
            topic: key.topic.to_string(),
            partition: key.partition,
            next_offset,
            slots,
            epoch,
            attempts,
            taken_at: UNIX_EPOCH + Duration::from_millis(taken_ms.unsigned_abs()),
            cluster,
        }
    }
}
