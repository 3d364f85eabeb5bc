//! Whether a MySQL or MariaDB server is fit: what would break a promise, and what keeps old rows.

use std::time::Duration;

use sqlx::{AssertSqlSafe, MySql};

use super::pool;
use crate::finding::Finding;
use crate::store::Store;
use crate::store::check::{CheckDialect, RIGHTS, awaited_topics, lasted, looked, rights, seconds};

impl CheckDialect for MySql {
    async fn look(store: &Store<Self>, old: Duration) -> Vec<Finding> {
        let mut found = looked("server", server(store)).await;
        found.extend(looked("rights", may_use(store)).await);
        found.extend(looked("transactions", transactions(store, old)).await);
        found
    }

    awaited_topics!();
}

async fn server(store: &Store<MySql>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "server";
    let sql = "select cast(version() as char), cast(@@global.read_only as signed), \
               cast(@@global.innodb_flush_log_at_trx_commit as signed)";
    let (version, read_only, flush): (String, i64, i64) = sqlx::query_as(sql).fetch_one(&store.pool).await?;
    let mut found = Vec::new();
    let mut connection = store.pool.acquire().await?;
    match pool::fit(&mut connection).await {
        Ok(()) => {}
        Err(sqlx::Error::Configuration(why)) => found.push(Finding::problem(WHAT, why.to_string())),
        Err(error) => return Err(error),
    }
    if read_only != 0 {
        found.push(Finding::problem(
            WHAT,
            "it can only be read (`read_only`); name the primary in the address",
        ));
    }
    if flush != 1 {
        found.push(Finding::warning(
            WHAT,
            format!(
                "`innodb_flush_log_at_trx_commit` is {flush}: a crash loses the last commits, which are done again, and events that \
                 were published meanwhile are published twice; set it to 1"
            ),
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok(WHAT, format!("{version}, and it can be written to")));
    }
    Ok(found)
}

/// Asked by statements that touch no row: rights come from roles, databases and tables, and only the server adds them up.
async fn may_use(store: &Store<MySql>) -> sqlx::Result<Vec<Finding>> {
    let schema = &store.schema;
    let user: String =
        sqlx::query_scalar("select cast(current_user() as char)").fetch_one(&store.pool).await?;
    let mut missing = Vec::new();
    for (table, needed) in RIGHTS {
        for right in needed {
            let name = format!("{schema}{table}");
            let column = match table {
                "eos_schema" => "version",
                "eos_outbox" => "type",
                "eos_lane" => "epoch",
                "eos_relay" | "eos_identity" => "id",
                "eos_inbox" => "outcome",
                "eos_claim" => "token",
                _ => "topic",
            };
            let sql = match *right {
                "insert" => format!("insert into {name} ({column}) select {column} from {name} where 1 = 0"),
                "update" => format!("update {name} set {column} = {column} where 1 = 0"),
                "delete" => format!("delete from {name} where 1 = 0"),
                _ => format!("select 1 from {name} where 1 = 0"),
            };
            match sqlx::raw_sql(AssertSqlSafe(sql)).execute(&store.pool).await {
                Ok(_) => {}
                Err(error) => match super::number(&error) {
                    // A row needs more than this column: rights were looked at before that.
                    Some(1364) => {}
                    // A command, or a column, is denied.
                    Some(1142 | 1143) => missing.push(format!("{right} {table}")),
                    // Tables that are not there are somebody else's finding.
                    Some(1146) if table == "eos_schema" => return Ok(Vec::new()),
                    Some(1146) => {}
                    Some(_) | None => return Err(error),
                },
            }
        }
    }
    Ok(vec![rights(&user, &missing)])
}

/// Old transactions are shown to whoever has PROCESS. A taker ends sessions of its own user without it.
async fn transactions(store: &Store<MySql>, old: Duration) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "transactions";
    let sql = "select cast(trx_mysql_thread_id as signed), \
                 cast(timestampdiff(second, trx_started, now()) as signed) \
               from information_schema.innodb_trx where trx_started < now() - interval ? second \
               order by trx_started limit 10";
    let rows: Result<Vec<(i64, i64)>, _> =
        sqlx::query_as(sql).bind(seconds(old)).fetch_all(&store.pool).await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) if super::number(&error) == Some(1227) => {
            return Ok(vec![Finding::warning(
                WHAT,
                "old ones are not shown to this user; `grant process on *.* to` it, if they are to be found here. Sessions that overran \
                 are ended without it, as long as all processes of a group use one user",
            )]);
        }
        Err(error) => return Err(error),
    };
    if rows.is_empty() {
        return Ok(vec![Finding::ok(WHAT, "none is so old that it keeps old rows")]);
    }
    let found = rows.into_iter().map(|(connection, seconds)| {
        Finding::warning(
            WHAT,
            format!(
                "connection {connection} has had a transaction open for {}, and old rows stay in every table meanwhile; \
                 `kill {connection}` ends it if nobody needs it",
                lasted(seconds)
            ),
        )
    });
    Ok(found.collect())
}
