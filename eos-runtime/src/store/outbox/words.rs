//! The statements of a relay, said once for three databases.
//!
//! [`Words`] are what differs in the text; [`relay_dialect!`] is the implementation, since sqlx's traits cannot be named
//! for all databases at once. Whatever is not bound is a number, a name of ours, or a text in hex.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;

use super::relay::{Change, Depth, Look, Slot};

/// The words in which databases differ. Free functions of these names stand beside each use of [`relay_dialect!`]:
/// `for_relay`, `begin_sharing`, `write` (one statement that stands alone), and `with_seqs`, `with_entries`, `with_taken` and
/// `announcements`, which [`without_arrays!`] is for where a list has to be written out and nobody can be woken.
pub(crate) struct Words {
    /// Milliseconds since 1970.
    pub(crate) now_ms: &'static str,
    /// The time as `published_at` and `failed_at` have it.
    pub(crate) stamp: &'static str,
    /// The same so many milliseconds ago.
    pub(crate) before: fn(u128) -> String,
    /// What has the next statement read along the primary key, until the end of its message.
    pub(crate) along_the_key: &'static str,
    /// How many microseconds ago an entry was created.
    pub(crate) age_us: &'static str,
    /// A type to cast an id to.
    pub(crate) text: &'static str,
    /// The placeholders of four values.
    pub(crate) values: [&'static str; 4],
    /// A fifth one's, where it can be a list of numbers.
    pub(crate) list: Option<&'static str>,
    /// A text whose bytes are written in hex.
    pub(crate) hex_text: fn(&str) -> String,
    pub(crate) key_column: &'static str,
    pub(crate) concatenated: &'static str,
    pub(crate) on_known: &'static str,
}

impl Words {
    /// What is read of an entry.
    pub(crate) fn columns(&self, schema: &str, more: &str) -> String {
        format!(
            "select seq, cast(id as {}), coalesce(topic, {}), aggregateid, {}, type, payload, headers, {}{more} \
             from {schema}eos_outbox",
            self.text, self.concatenated, self.key_column, self.age_us
        )
    }

    /// What waits, with a placeholder each for the first slot, the end, the number before, the limit, and the list of what was
    /// taken, where there can be one; whether the text is the same each time.
    pub(crate) fn waiting(&self, schema: &str, look: &Look<'_>) -> (String, bool) {
        let [first, end, above, limit] = self.values;
        let held = if look.held.is_empty() {
            String::new()
        } else {
            let held: Vec<_> = look.held.iter().map(|key| (self.hex_text)(key)).collect();
            format!(" and (aggregateid is null or aggregateid not in ({}))", held.join(", "))
        };
        let taken = match self.list {
            // A hash that each row is looked up in.
            Some(list) => format!(" and seq not in (select unnest({list}))"),
            None if look.taken.is_empty() => String::new(),
            // So that nobody takes it for thousands of ranges.
            None => format!(" and (seq in {}) is not true", listed(look.taken)),
        };
        let sql = format!(
            "{} where slot >= {first} and slot < {end} and seq > {above} and failed_at is null \
             and published_at is null and broker = 'kafka'{held}{taken} order by seq limit {limit}",
            self.columns(schema, "")
        );
        (sql, look.held.is_empty() && (self.list.is_some() || look.taken.is_empty()))
    }

    /// How many wait, up to a limit, how old the oldest is, and the numbers of the first and of the last that there is.
    pub(crate) fn depth(&self, schema: &str) -> String {
        let (along_the_key, age, limit) = (self.along_the_key, self.age_us, Depth::COUNTED);
        format!(
            "{along_the_key}select count(*), max(w.age), min(w.seq), (select max(seq) from {schema}eos_outbox) from \
             (select seq, {age} as age from {schema}eos_outbox where published_at is null and failed_at is null \
             and broker = 'kafka' order by seq limit {limit}) w"
        )
    }

    pub(crate) fn lanes(&self, schema: &str) -> String {
        format!(
            "select first_slot, end_slot, epoch, case when lease_until >= {} then owner end from {schema}eos_lane \
             order by first_slot",
            self.now_ms
        )
    }

    /// The statements that say that a relay lives, and that others do not.
    pub(crate) fn alive(&self, schema: &str, me: &str, lease: Duration) -> [String; 2] {
        let (now, ms) = (self.now_ms, lease.as_millis());
        [
            format!(
                "insert into {schema}eos_relay (id, alive_until) values ('{me}', {now} + {ms}) {} {now} + {ms}",
                self.on_known
            ),
            format!("delete from {schema}eos_relay where alive_until < {now}"),
        ]
    }

    /// The statements of a change.
    pub(crate) fn change(&self, schema: &str, me: &str, change: &Change, lease: Duration) -> Vec<String> {
        let until = format!("{} + {}", self.now_ms, lease.as_millis());
        let mine = |slot: Slot| format!("where first_slot = {slot} and owner = '{me}'");
        let set = |what: String, slot: Slot| format!("update {schema}eos_lane set {what} {}", mine(slot));
        match *change {
            Change::Take(slot) => vec![format!(
                "update {schema}eos_lane set owner = '{me}', epoch = epoch + 1, lease_until = {until} \
                 where first_slot = {slot}"
            )],
            Change::Renew(slot) => vec![set(format!("lease_until = {until}"), slot)],
            Change::Release(slot) => vec![set("owner = null, lease_until = 0".to_owned(), slot)],
            Change::Split(slot, at) => vec![
                format!(
                    "insert into {schema}eos_lane (first_slot, end_slot, epoch) \
                     select {at}, end_slot, epoch from {schema}eos_lane {}",
                    mine(slot)
                ),
                set(format!("end_slot = {at}, epoch = epoch + 1"), slot),
            ],
            Change::Merge(slot, next) => vec![
                format!(
                    "update {schema}eos_lane set epoch = epoch + 1, end_slot = \
                     (select end_slot from (select end_slot from {schema}eos_lane {}) n) {}",
                    mine(next),
                    mine(slot)
                ),
                format!("delete from {schema}eos_lane {}", mine(next)),
            ],
        }
    }
}

/// A condition on top of the numbers: only what was refused.
pub(crate) const REFUSED: &str = " and failed_at is not null";

/// A connection that nobody else may have before what was begun on it has ended: dropped before, it is closed, and the
/// database rolls back and lets go of the locks.
pub(crate) struct Unfinished<DB: sqlx::Database> {
    connection: PoolConnection<DB>,
    finished: bool,
}

impl<DB: sqlx::Database> Unfinished<DB> {
    pub(crate) fn new(connection: PoolConnection<DB>) -> Self {
        Unfinished { connection, finished: false }
    }

    pub(crate) fn finished(mut self) {
        self.finished = true;
    }
}

impl<DB: sqlx::Database> Drop for Unfinished<DB> {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}

impl<DB: sqlx::Database> Deref for Unfinished<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: sqlx::Database> DerefMut for Unfinished<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

/// The numbers as a list in parentheses.
pub(crate) fn listed(seqs: &[i64]) -> String {
    let mut list = String::with_capacity(seqs.len() * 8 + 2);
    for seq in seqs {
        list.push(if list.is_empty() { '(' } else { ',' });
        list.push_str(&seq.to_string());
    }
    list.push(')');
    list
}

/// A condition for entries, by their numbers and by their ids.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) fn are_these(entries: &[super::relay::Sent]) -> String {
    let seqs: Vec<i64> = entries.iter().map(|sent| sent.seq).collect();
    // What is no id of a row that was read cannot be one here: letters, digits and dashes alone.
    let ids: Vec<String> = entries
        .iter()
        .map(|sent| sent.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
        .collect();
    format!("seq in {} and id in ('{}')", listed(&seqs), ids.join("','"))
}

/// The implementation, once for each database, since sqlx's traits cannot be named for all of them at once.
macro_rules! relay_dialect {
    ($database:ty, $words:expr) => {
        impl $crate::store::outbox::RelayDialect for $database {
            fn for_relay(store: &Store<Self>) -> Store<Self> {
                for_relay(store)
            }

            async fn database_id(store: &Store<Self>) -> sqlx::Result<String> {
                let sql = format!("select cast(id as {}) from {}eos_identity", $words.text, store.schema);
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&store.pool).await
            }

            async fn anything(store: &Store<Self>) -> sqlx::Result<bool> {
                let sql = format!("select 1 from {}eos_outbox where published_at is null limit 1", store.schema);
                Ok(sqlx::query(AssertSqlSafe(sql)).fetch_optional(&store.pool).await?.is_some())
            }

            async fn depth(store: &Store<Self>) -> sqlx::Result<Depth> {
                let row = sqlx::raw_sql(AssertSqlSafe($words.depth(&store.schema))).fetch_one(&store.pool).await?;
                Ok(Depth::found(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
            }

            /// Row by row, so that what the server sent is not held twice.
            async fn read(store: &Store<Self>, look: &Look<'_>) -> sqlx::Result<Vec<Waiting>> {
                let (sql, is_usual) = $words.waiting(&store.schema, look);
                let query = sqlx::query(AssertSqlSafe(sql))
                    .persistent(is_usual)
                    .bind(look.slots.start)
                    .bind(look.slots.end)
                    .bind(look.above)
                    .bind(i64::try_from(look.limit).unwrap_or(i64::MAX));
                let mut rows = with_taken(query, look.taken).fetch(&store.pool);
                let mut found = Vec::new();
                while let Some(row) = rows.try_next().await? {
                    found.push(waiting(&row, found.last())?);
                }
                Ok(found)
            }

            async fn find(store: &Store<Self>, seqs: &[i64]) -> sqlx::Result<Vec<Sent>> {
                let sql = format!(
                    "select seq, cast(id as {}) from {}eos_outbox where seq in {}",
                    $words.text,
                    store.schema,
                    listed(seqs)
                );
                let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&store.pool).await?;
                rows.iter().map(|row| Ok(Sent { seq: row.try_get(0)?, id: row.try_get::<&str, _>(1)?.into() })).collect()
            }

            async fn left(store: &Store<Self>, entries: &[Sent], afterwards: Afterwards) -> sqlx::Result<()> {
                let table = format!("{}eos_outbox", store.schema);
                let how = match afterwards {
                    Afterwards::Delete => format!("delete from {table}"),
                    Afterwards::Keep => format!("update {table} set published_at = {}", $words.stamp),
                };
                with_entries(store, how, entries).await.map(drop)
            }

            async fn clean(store: &Store<Self>, kept_for: Duration) -> sqlx::Result<u64> {
                let table = format!("{}eos_outbox", store.schema);
                let before = ($words.before)(kept_for.as_millis());
                let sql = format!(
                    "delete from {table} where seq in (select seq from (select seq from {table} \
                     where published_at < {before} order by published_at limit 1000) old)"
                );
                write(store, sql).await
            }

            async fn refuse(store: &Store<Self>, seq: i64, refusal: Refusal, error: &str) -> sqlx::Result<()> {
                let sql = format!(
                    "update {}eos_outbox set attempts = attempts + 1, failed_at = {}, refusal = {}, error = {} \
                     where seq = {seq}",
                    store.schema,
                    $words.stamp,
                    refusal as i16,
                    ($words.hex_text)(error)
                );
                write(store, sql).await.map(drop)
            }

            async fn topics_looked_for(store: &Store<Self>) -> sqlx::Result<Vec<String>> {
                let sql = format!(
                    "select distinct coalesce(topic, {}) from {}eos_outbox where failed_at is not null and refusal = {}",
                    $words.concatenated,
                    store.schema,
                    Refusal::Topic as i16
                );
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&store.pool).await
            }

            async fn topic_found(store: &Store<Self>, topic: &str) -> sqlx::Result<u64> {
                let sql = format!(
                    "update {}eos_outbox set failed_at = null where failed_at is not null and refusal = {} \
                     and coalesce(topic, {}) = {}",
                    store.schema,
                    Refusal::Topic as i16,
                    $words.concatenated,
                    ($words.hex_text)(topic)
                );
                write(store, sql).await
            }

            async fn refused(store: &Store<Self>, slots: Range<Slot>) -> sqlx::Result<Vec<Refused>> {
                let sql = format!(
                    "{} where failed_at is not null and slot >= {} and slot < {} order by seq limit 10000",
                    $words.columns(&store.schema, ", attempts, error"),
                    slots.start,
                    slots.end
                );
                let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(&store.pool).await?;
                let refused = rows.iter().map(|row| {
                    let error: Option<String> = row.try_get(10)?;
                    let (attempts, error) = (row.try_get(9)?, error.unwrap_or_default());
                    Ok(Refused { waiting: waiting(row, None)?, attempts, error })
                });
                refused.collect()
            }

            async fn held(store: &Store<Self>, slots: Range<Slot>) -> sqlx::Result<Vec<String>> {
                let sql = format!(
                    "select distinct aggregateid from {}eos_outbox where failed_at is not null and aggregateid is not null \
                     and slot >= {} and slot < {}",
                    store.schema, slots.start, slots.end
                );
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&store.pool).await
            }

            fn announcements(store: &Store<Self>) -> impl Stream<Item = ()> + Send + 'static {
                announcements(store)
            }

            async fn retry(store: &Store<Self>, seqs: &[i64]) -> sqlx::Result<u64> {
                with_seqs(store, format!("update {}eos_outbox set failed_at = null", store.schema), REFUSED, seqs).await
            }

            async fn discard(store: &Store<Self>, seqs: &[i64]) -> sqlx::Result<u64> {
                with_seqs(store, format!("delete from {}eos_outbox", store.schema), REFUSED, seqs).await
            }

            async fn share(
                store: &Store<Self>,
                me: &str,
                lease: Duration,
                decide: impl FnOnce(&Lanes) -> Vec<Change> + Send,
            ) -> sqlx::Result<Lanes> {
                let mut connection = Unfinished::new(store.pool.acquire().await?);
                let _turn = begin_sharing(store, &mut connection).await?;
                let lanes = shared(&mut connection, &store.schema, me, lease, decide).await?;
                connection.finished();
                Ok(lanes)
            }

            async fn leave(store: &Store<Self>, me: &str) -> sqlx::Result<()> {
                let schema = &store.schema;
                let free =
                    format!("update {schema}eos_lane set owner = null, lease_until = 0 where owner = '{me}'");
                write(store, free).await?;
                write(store, format!("delete from {schema}eos_relay where id = '{me}'")).await.map(drop)
            }
        }

        /// To the end of a transaction that has been begun.
        async fn shared(
            connection: &mut <$database as sqlx::Database>::Connection,
            schema: &str,
            me: &str,
            lease: Duration,
            decide: impl FnOnce(&Lanes) -> Vec<Change> + Send,
        ) -> sqlx::Result<Lanes> {
            for sql in $words.alive(schema, me, lease) {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
            }
            let relays = format!("select id from {schema}eos_relay order by id");
            let relays: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(relays)).fetch_all(&mut *connection).await?;
            let before = Lanes { relays, lanes: lanes(connection, schema).await? };
            for change in decide(&before) {
                for sql in $words.change(schema, me, &change, lease) {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
                }
            }
            let lanes = lanes(connection, schema).await?;
            sqlx::raw_sql("commit").execute(&mut *connection).await?;
            Ok(Lanes { relays: before.relays, lanes })
        }

        async fn lanes(
            connection: &mut <$database as sqlx::Database>::Connection,
            schema: &str,
        ) -> sqlx::Result<Vec<Lane>> {
            let sql = $words.lanes(schema);
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
            let lanes = rows.iter().map(|row| {
                let (first, end): (i16, i16) = (row.try_get(0)?, row.try_get(1)?);
                Ok(Lane { slots: first..end, epoch: row.try_get(2)?, owner: row.try_get(3)? })
            });
            lanes.collect()
        }

        /// An entry, which mostly has the topic and the type of the one `before` it.
        fn waiting(
            row: &<$database as sqlx::Database>::Row,
            before: Option<&Waiting>,
        ) -> sqlx::Result<Waiting> {
            Ok(Waiting {
                seq: row.try_get(0)?,
                id: row.try_get::<&str, _>(1)?.into(),
                topic: Waiting::shared(row.try_get(2)?, before.map(|before| &before.topic)),
                aggregate_id: row.try_get(3)?,
                binary_key: row.try_get(4)?,
                type_name: Waiting::shared(row.try_get(5)?, before.map(|before| &before.type_name)),
                payload: row.try_get(6)?,
                headers: row.try_get(7)?,
                created: Waiting::created(row.try_get(8)?),
            })
        }
    };
}
pub(crate) use relay_dialect;

/// What databases without arrays and without announcements do, in the same words.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! without_arrays {
    ($database:ty) => {
        async fn with_seqs(
            store: &Store<$database>,
            how: String,
            and: &str,
            seqs: &[i64],
        ) -> sqlx::Result<u64> {
            if seqs.is_empty() {
                return Ok(0);
            }
            write(store, format!("{how} where seq in {}{and}", listed(seqs))).await
        }

        async fn with_entries(store: &Store<$database>, how: String, entries: &[Sent]) -> sqlx::Result<u64> {
            if entries.is_empty() {
                return Ok(0);
            }
            write(store, format!("{how} where {}", are_these(entries))).await
        }

        fn with_taken<'q>(
            query: Query<'q, $database, <$database as Database>::Arguments>,
            _written_out: &'q [i64],
        ) -> Query<'q, $database, <$database as Database>::Arguments> {
            query
        }

        fn announcements(_store: &Store<$database>) -> impl Stream<Item = ()> + Send + 'static {
            futures_util::stream::pending()
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use without_arrays;
