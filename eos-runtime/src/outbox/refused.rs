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
    Ok(DB::refused(&store(pool), 0..SLOTS).await?.into_iter().map(Refused::from).collect())
}

/// Has refused entries tried again, by their numbers; says how many of them there were.
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Done or not done, as a whole.
pub async fn retry<DB: OutboxDatabase>(pool: &Pool<DB>, seqs: &[i64]) -> sqlx::Result<u64> {
    let store = store(pool);
    let retried = DB::retry(&store, seqs).await?;
    store.home.published(pool);
    Ok(retried)
}

/// Deletes refused entries, by their numbers: they are never published, and their keys go on. Says how many there were.
///
/// # Errors
/// The database's.
///
/// # Cancel safety
/// Done or not done, as a whole.
pub async fn discard<DB: OutboxDatabase>(pool: &Pool<DB>, seqs: &[i64]) -> sqlx::Result<u64> {
    let store = store(pool);
    let discarded = DB::discard(&store, seqs).await?;
    store.home.published(pool);
    Ok(discarded)
}

/// A database whose outbox can be looked at: every one that eos knows.
#[expect(private_bounds, reason = "what a relay asks of a database is nobody else's to answer")]
pub trait OutboxDatabase: TxDatabase + RelayDialect {}

impl<DB: TxDatabase + RelayDialect> OutboxDatabase for DB {}

/// The caller's pool, as the statements want it.
fn store<DB: OutboxDatabase>(pool: &Pool<DB>) -> Store<DB> {
    let home = Home::of(pool);
    Store::of(pool.clone(), home)
}

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
