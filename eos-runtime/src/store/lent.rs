//! A connection for one message: it goes back to its pool when all that was asked on it was answered, and is closed otherwise.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};

/// When a pool that lends no connection counts as one of a database that cannot be reached: sqlx goes on trying where nobody
/// listens.
const WITHIN: Duration = Duration::from_secs(5);

/// One that is closed when it is dropped, unless it was [given back](Lent::give_back).
pub(super) struct Lent<DB: Database> {
    connection: PoolConnection<DB>,
    answered: bool,
}

impl<DB: Database> Lent<DB> {
    pub(super) async fn by(pool: &Pool<DB>) -> sqlx::Result<Self> {
        let lending = tokio::time::timeout(WITHIN, pool.acquire()).await;
        let connection = lending.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        Ok(Lent { connection, answered: false })
    }

    pub(super) fn give_back(mut self) {
        self.answered = true;
    }
}

impl<DB: Database> Deref for Lent<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl<DB: Database> Drop for Lent<DB> {
    fn drop(&mut self) {
        if !self.answered {
            self.connection.close_on_drop();
        }
    }
}
