//! The outbox in a SQLite file. Other processes cannot be woken: their relays look by themselves.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, QueryBuilder, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Pool};

use super::{code, pool};
use crate::error::BoxError;
use crate::listener::spec::Isolation;
use crate::store::Tx;
use crate::store::dialect::{Dialect as _, Fault, Store};
use crate::store::migrate::Mode;
use crate::store::outbox::{Entry, OutboxDialect};

impl OutboxDialect for Sqlite {
    const ANNOUNCES: bool = false;

    fn identity(options: &SqliteConnectOptions) -> String {
        let file = options.get_filename();
        let path = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        format!("sqlite://{}", path.display())
    }

    /// Every transaction is serializable here; one that asks for a level takes the file's lock at once, and need not
    /// give way later.
    async fn begin_at(_connection: &mut SqliteConnection, _isolation: Isolation) -> sqlx::Result<SqlStr> {
        Ok(AssertSqlSafe("begin immediate".to_owned()).into_sql_str())
    }

    async fn prove_alive(_tx: &mut Tx<Self>) -> sqlx::Result<()> {
        // COMMIT says so itself where no transaction is open any more.
        Ok(())
    }

    fn rolled_back(error: &sqlx::Error) -> bool {
        // Busy, a constraint, or no transaction that could be committed.
        matches!(code(error), Some(1 | 5 | 19))
    }

    fn gave_way(error: &sqlx::Error) -> bool {
        pool::fault(error) == Fault::Transient
    }

    fn ends_transaction(error: &sqlx::Error) -> bool {
        // Out of memory, an I/O error, a full disk: SQLite may have rolled back by itself.
        // Source: <https://www.sqlite.org/lang_transaction.html>, "Response To Errors Within A Transaction".
        matches!(code(error), Some(7 | 10 | 13))
    }

    async fn write_entries(tx: &mut Tx<Self>, schema: &str, entries: &[Entry]) -> sqlx::Result<()> {
        for entries in entries.chunks(ROWS_AT_MOST) {
            let into = "(id, topic, aggregatetype, aggregateid, key, type, payload, headers) ";
            let mut insert = QueryBuilder::<Sqlite>::new(format!("insert into {schema}eos_outbox {into}"));
            insert.push_values(entries, |mut row, entry| {
                row.push_bind(entry.id.hyphenated().to_string())
                    .push_bind(&entry.topic)
                    .push_bind(&entry.topic)
                    .push_bind(entry.aggregate_id())
                    .push_bind(entry.binary_key())
                    .push_bind(&*entry.type_name)
                    .push_bind(entry.payload.as_deref())
                    .push_bind(entry.headers.as_deref());
            });
            let persistent = entries.len() <= REMEMBERED;
            insert.build().persistent(persistent).execute(&mut *tx).await?;
        }
        Ok(())
    }

    async fn migrate_outbox(pool: &Pool<Self>, schema: &str) -> Result<(), BoxError> {
        let store = Store::new(pool.clone(), schema.to_owned());
        Ok(Self::migrate(&store, Mode::Auto).await?)
    }

    async fn announce(_pool: &Pool<Self>) -> sqlx::Result<()> {
        Ok(())
    }

    fn usual_schema() -> &'static str {
        ""
    }

    fn qualified(schema: &str) -> String {
        pool::qualifier(schema)
    }
}

/// In one statement; SQLite takes 32,766 parameters.
const ROWS_AT_MOST: usize = 1000;
/// Up to so many rows the statement stays prepared.
const REMEMBERED: usize = 16;
