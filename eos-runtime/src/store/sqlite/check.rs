//! Whether a SQLite file is fit: it can be written, and readers do not stop its writer.

use std::time::Duration;

use sqlx::{Row, Sqlite};

use super::{attempt, code, lock};
use crate::finding::Finding;
use crate::store::check::{CheckDialect, awaited_topics, looked};
use crate::store::{Store, StoreOptions};

impl CheckDialect for Sqlite {
    async fn look(store: &Store<Self>, _old: Duration) -> Vec<Finding> {
        let mut found = looked("file", journal(store)).await;
        found.extend(looked("rights", may_write(store)).await);
        found
    }

    awaited_topics!();
}

async fn journal(store: &Store<Sqlite>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "file";
    let row = sqlx::query("pragma journal_mode").fetch_one(&store.pool).await?;
    let mode: String = row.try_get(0)?;
    Ok(vec![match mode.as_str() {
        "wal" => Finding::ok(WHAT, "in WAL mode: readers do not stop its writer"),
        mode => Finding::warning(
            WHAT,
            format!(
                "in the mode `{mode}`, in which readers stop its writer; a service turns it to WAL when it starts, and so does \
                 `pragma journal_mode = wal`"
            ),
        ),
    }])
}

/// Takes the lock that a writer has, and gives it back.
async fn may_write(store: &Store<Sqlite>) -> sqlx::Result<Vec<Finding>> {
    const WHAT: &str = "rights";
    let patience = StoreOptions::MARGIN * 5;
    let mut tx = attempt::open(store.pool.acquire().await?).await?;
    let began = lock::begin(store, &mut tx, patience, Some(patience), "begin immediate; rollback").await;
    let finding = match began {
        Ok((_, turn)) => {
            drop(turn);
            Finding::ok(WHAT, "the file can be written to")
        }
        Err(error) if lock::is_busy(&error) => Finding::warning(
            WHAT,
            "another process has written to the file for 5 s, and services wait for it; find it, by `fuser` for instance",
        ),
        Err(error) if code(&error) == Some(8) => Finding::problem(
            WHAT,
            "the file can only be read; let the service's user write to it, and to its folder",
        ),
        Err(error) => return Err(error),
    };
    attempt::close(tx).await?;
    Ok(vec![finding])
}
