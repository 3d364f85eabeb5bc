//! How a database is reached: by the settings' address, or as the application's own pool reaches it.

use std::fmt;

use crate::settings::{Address, DatabaseKind};

/// A pool of the application's, from which eos learns how to connect: made of `&PgPool`, `&MySqlPool` or `&SqlitePool`.
///
/// eos opens a pool of its own with the same options, since fencing needs connections with names and timeouts that
/// are not the application's.
#[derive(Debug, Clone)]
pub struct DatabasePool(pub(super) Target);

/// sqlx's options for one database.
#[derive(Clone)]
pub(crate) enum Target {
    #[cfg(feature = "postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "mysql")]
    MySql(Box<sqlx::mysql::MySqlConnectOptions>),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
}

#[cfg(feature = "postgres")]
impl From<&sqlx::PgPool> for DatabasePool {
    fn from(pool: &sqlx::PgPool) -> Self {
        DatabasePool(Target::Postgres(Box::new((*pool.connect_options()).clone())))
    }
}

#[cfg(feature = "mysql")]
impl From<&sqlx::MySqlPool> for DatabasePool {
    fn from(pool: &sqlx::MySqlPool) -> Self {
        DatabasePool(Target::MySql(Box::new((*pool.connect_options()).clone())))
    }
}

#[cfg(feature = "sqlite")]
impl From<&sqlx::SqlitePool> for DatabasePool {
    fn from(pool: &sqlx::SqlitePool) -> Self {
        DatabasePool(Target::Sqlite(Box::new((*pool.connect_options()).clone())))
    }
}

impl Target {
    /// Reads an address; the mistake holds nothing of its password.
    pub(super) fn parse(address: &Address) -> Result<Self, String> {
        let url = address.url.expose();
        let target = match address.kind {
            #[cfg(feature = "postgres")]
            DatabaseKind::Postgres => url.parse().map(Box::new).map(Target::Postgres),
            #[cfg(feature = "mysql")]
            DatabaseKind::MySql => url.parse().map(Box::new).map(Target::MySql),
            #[cfg(feature = "sqlite")]
            DatabaseKind::Sqlite => url.parse().map(Box::new).map(Target::Sqlite),
            #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
            other => return Err(format!("this binary was built without {other}")),
        };
        let target = target.map_err(|error: sqlx::Error| {
            format!("`{}` is no address: {error}; percent-encode what is special in a password", address.url)
        })?;
        target.objection().map_or(Ok(target), Err)
    }

    /// Which database it is.
    pub(crate) fn kind(&self) -> DatabaseKind {
        match self {
            #[cfg(feature = "postgres")]
            Target::Postgres(_) => DatabaseKind::Postgres,
            #[cfg(feature = "mysql")]
            Target::MySql(_) => DatabaseKind::MySql,
            #[cfg(feature = "sqlite")]
            Target::Sqlite(_) => DatabaseKind::Sqlite,
        }
    }

    /// What can be known to fail before anything is connected.
    fn objection(&self) -> Option<String> {
        let encrypted = match self {
            #[cfg(feature = "postgres")]
            Target::Postgres(options) => {
                use sqlx::postgres::PgSslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
                match options.get_ssl_mode() {
                    Require | VerifyCa | VerifyFull => true,
                    Allow | Disable | Prefer => false,
                }
            }
            #[cfg(feature = "mysql")]
            Target::MySql(options) => {
                use sqlx::mysql::MySqlSslMode::{Disabled, Preferred, Required, VerifyCa, VerifyIdentity};
                match options.get_ssl_mode() {
                    Required | VerifyCa | VerifyIdentity => true,
                    Disabled | Preferred => false,
                }
            }
            #[cfg(feature = "sqlite")]
            Target::Sqlite(_) => false,
        };
        (encrypted && !cfg!(feature = "tls")).then(|| {
            "the address asks for encryption, and this binary was built without it; add the feature `tls` to \
             `eos-runtime` in Cargo.toml"
                .to_owned()
        })
    }
}

impl fmt::Debug for Target {
    /// sqlx's options show passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.kind())
    }
}
