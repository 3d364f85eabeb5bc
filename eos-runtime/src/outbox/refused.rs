//! Entries that Kafka refused: what they are and why, for whoever mends it.

use sqlx::Pool;

use crate::record::Headers;
use crate::store::{Home, Refused as Row, RelayDialect, SLOTS, Store, TxDatabase, read_headers};

/// An entry that Kafka refused: too large for its topic, for a topic that is missing or forbidden, or with a name or
/// headers that cannot be. Its key waits behind it, unless `[outbox] on_undeliverable = "skip"`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refused {
    /// Its number in the table.
    pub seq: i64,
    /// The id that it has as a record, in the header `message-id`.
    pub id: String,
    /// Where it was to go.
    pub topic: String,
    /// Its key, as the table has it.
    pub key: Option<String>,
    /// The type of the event; empty where it has none.
    pub event: String,
    /// Its payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its own headers, where they can be read.
    pub headers: Headers,
    /// How often it was refused.
    pub attempts: u32,
    /// Why it was refused last.
    pub error: String,
}

/// Lists what was refused, the oldest first; ten thousand at most.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> sqlx::Result<()> {
/// for refused in eos_runtime::outbox::refused(&pool).await? {
///     println!("{} for {}: {}", refused.seq, refused.topic, refused.error);
///     eos_runtime::outbox::retry(&pool, &[refused.seq]).await?;
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Cancel safe.
pub async fn refused<DB: OutboxDatabase>(pool: &Pool<DB>) -> sqlx::Result<Vec<Refused>> {
    RefusedEntries::of(pool).list().await
}

/// Has refused entries tried again, by their numbers; says how many of them there were.
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Done or not done, as a whole.
pub async fn retry<DB: OutboxDatabase>(pool: &Pool<DB>, seqs: &[i64]) -> sqlx::Result<u64> {
    RefusedEntries::of(pool).retry(seqs).await
}

/// Deletes refused entries, by their numbers: they are never published, and their keys go on. Says how many there were.
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Done or not done, as a whole.
pub async fn discard<DB: OutboxDatabase>(pool: &Pool<DB>, seqs: &[i64]) -> sqlx::Result<u64> {
    RefusedEntries::of(pool).discard(seqs).await
}

/// The entries of one outbox that Kafka refused.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> sqlx::Result<()> {
/// use eos_runtime::outbox::RefusedEntries;
///
/// let entries = RefusedEntries::in_schema(&pool, "public");
/// for refused in entries.list().await? {
///     println!("{} for {}: {}", refused.seq, refused.topic, refused.error);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RefusedEntries<DB: OutboxDatabase> {
    store: Store<DB>,
}

impl<DB: OutboxDatabase> RefusedEntries<DB> {
    /// Those of a pool's database, in the schema that the settings of this process say for it.
    pub fn of(pool: &Pool<DB>) -> Self {
        RefusedEntries { store: Store::of(pool.clone(), Home::of(pool)) }
    }

    /// Those in this schema of a pool's database; for tools that have no settings.
    pub fn in_schema(pool: &Pool<DB>, schema: &str) -> Self {
        RefusedEntries { store: Store::new(pool.clone(), DB::qualified(schema)) }
    }

    /// See [`refused`].
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn list(&self) -> sqlx::Result<Vec<Refused>> {
        Ok(DB::refused(&self.store, 0..SLOTS).await?.into_iter().map(Refused::from).collect())
    }

    /// See [`retry`].
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn retry(&self, seqs: &[i64]) -> sqlx::Result<u64> {
        let retried = DB::retry(&self.store, seqs).await?;
        self.store.home.published(&self.store.pool);
        Ok(retried)
    }

    /// See [`discard`].
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn discard(&self, seqs: &[i64]) -> sqlx::Result<u64> {
        let discarded = DB::discard(&self.store, seqs).await?;
        self.store.home.published(&self.store.pool);
        Ok(discarded)
    }
}

/// A database whose outbox can be looked at: every one that eos knows.
#[expect(private_bounds, reason = "what a relay asks of a database is nobody else's to answer")]
pub trait OutboxDatabase: TxDatabase + RelayDialect {}

impl<DB: TxDatabase + RelayDialect> OutboxDatabase for DB {}

impl From<Row> for Refused {
    fn from(row: Row) -> Self {
        let Row { waiting, attempts, error } = row;
        Refused {
            seq: waiting.seq,
            id: waiting.id.as_ref().to_owned(),
            topic: waiting.topic.as_ref().to_owned(),
            key: waiting.aggregate_id,
            event: waiting.type_name.as_ref().to_owned(),
            payload: waiting.payload,
            headers: waiting.headers.and_then(|text| read_headers(&text).ok()).unwrap_or_default(),
            attempts: u32::try_from(attempts).unwrap_or_default(),
            error,
        }
    }
}
