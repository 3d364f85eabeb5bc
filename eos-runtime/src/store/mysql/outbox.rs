//! The outbox on MySQL and MariaDB. They cannot wake other connections: relays elsewhere look by themselves.

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Pool, SqlSafeStr, SqlStr};

use super::{number, pool, run};
use crate::error::BoxError;
use crate::listener::spec::Isolation;
use crate::store::Tx;
use crate::store::dialect::{Dialect as _, Fault, Store};
use crate::store::migrate::Mode;
use crate::store::outbox::{Entry, OutboxDialect, insert_by_values};

impl OutboxDialect for MySql {
    const ANNOUNCES: bool = false;

    fn identity(options: &MySqlConnectOptions) -> String {
        let place = options.get_socket().map_or_else(
            || format!("{}:{}", options.get_host(), options.get_port()),
            |socket| socket.to_string_lossy().into_owned(),
        );
        format!("mysql://{place}/{}", options.get_database().unwrap_or_default())
    }

    async fn begin_at(connection: &mut MySqlConnection, isolation: Isolation) -> sqlx::Result<SqlStr> {
        run(connection, format!("set transaction isolation level {}", isolation.sql())).await?;
        Ok(AssertSqlSafe("begin".to_owned()).into_sql_str())
    }

    async fn prove_alive(_tx: &mut Tx<Self>) -> sqlx::Result<()> {
        // An error does not abort the transaction here, and COMMIT keeps what succeeded; a deadlock, which ends it, is
        // noted when it happens.
        Ok(())
    }

    fn rolled_back(error: &sqlx::Error) -> bool {
        // Certification and deadlocks at COMMIT.
        matches!(number(error), Some(1213 | 1180))
    }

    fn gave_way(error: &sqlx::Error) -> bool {
        pool::fault(error) == Fault::Transient
    }

    fn ends_transaction(error: &sqlx::Error) -> bool {
        // A deadlock; MariaDB's "record has changed since last read" likewise. A lock that was waited for too long ends
        // its statement alone.
        matches!(number(error), Some(1213 | 1020))
    }

    async fn write_entries(tx: &mut Tx<Self>, schema: &str, entries: &[Entry]) -> sqlx::Result<()> {
        insert_by_values!(MySql, "`key`", tx, schema, entries)
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
