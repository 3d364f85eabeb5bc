//! The outbox in a SQLite file. Other processes cannot be woken: their relays look by themselves.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Pool, SqlSafeStr, SqlStr, Sqlite, SqliteConnection};

use super::{code, pool};
use crate::error::BoxError;
use crate::listener::spec::Isolation;
use crate::store::Tx;
use crate::store::dialect::{Dialect as _, Fault, Store};
use crate::store::migrate::Mode;
use crate::store::outbox::{Entry, OutboxDialect, insert_by_values};

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
        insert_by_values!(Sqlite, "key", tx, schema, entries)
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
