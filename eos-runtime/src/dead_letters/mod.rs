#![doc = include_str!("../../docs/dead-letters.md")]

//
// | file | what it promises |
// |---|---|
// | `mod.rs` | what people see of the table, and what they may change |
// | `parked.rs` | the same of what is parked |
// | `headers.rs` | a dead letter in Kafka has its own headers and Spring's |
// | `sender.rs` | one letter to its topic, with all acknowledgements, in a form that the topic takes |
// | `marks.rs` | one is marked by its number, whichever kind of database it is in |
// | `publish.rs` | from the table to the topic, until it is there |
//
// How a record gets into the table is the consumer's (`transactional/failed.rs`) and the store's (`dead_letter/`).

mod headers;
#[cfg(feature = "admin")]
mod marks;
mod parked;
mod publish;
mod sender;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::Pool;

pub(crate) use headers::as_output;
#[cfg(feature = "admin")]
pub(crate) use marks::Marks;
pub(crate) use publish::publish;
pub(crate) use sender::Sender;

use crate::record::Record;
use crate::store::{Filter, Home, LetterDialect, State as Stands, Store, Stored, TxDatabase};

/// The records set aside in one database.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// # async fn example(pool: sqlx::PgPool) -> sqlx::Result<()> {
/// use eos_runtime::dead_letters::{DeadLetters, Selection};
///
/// let letters = DeadLetters::of(&pool);
/// for letter in letters.list(&Selection::all().group("billing").reason("poison")).await? {
///     println!("{} at {}/{}: {}", letter.id, letter.partition, letter.offset, letter.error);
/// }
/// let marked = letters.replay(&Selection::all().group("billing").topic("event.order")).await?;
/// println!("{marked} will be handled again");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DeadLetters<DB: LetterDatabase> {
    store: Store<DB>,
}

/// A record that was set aside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number in the table.
    pub id: i64,
    /// What becomes of it.
    pub state: State,
    /// The group that could not handle it.
    pub group: String,
    /// Where it was read.
    pub topic: String,
    /// Where it was read.
    pub partition: i32,
    /// Where it was read.
    pub offset: i64,
    /// Key, payload and headers.
    pub record: Record,
    /// The listener, by the name that it had.
    pub listener: String,
    /// How often it was tried.
    pub attempts: u32,
    /// `poison`, `failed`, `overran`, `panicked`, `killed`, or `behind` an earlier record of its key that is parked.
    pub reason: String,
    /// The chain of causes of its last attempt.
    pub error: String,
    /// When it was set aside.
    pub set_aside_at: SystemTime,
    /// Whether its payload is not the one that came.
    pub edited: bool,
}

/// What becomes of a record that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It waits until somebody looks.
    Dead,
    /// It waits for its turn, and is tried again by itself; see [`DeadLetters::list_parked`].
    Parked,
    /// It is to be handled again, by a running listener of its group.
    Wanted,
    /// It was handled after all.
    Replayed,
    /// Nobody wants it handled.
    Discarded,
}

/// Which of them are meant: all that fulfil everything that is said.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Selection {
    filter: Filter,
}

impl Selection {
    /// All of them, in whatever state the question is about.
    pub fn all() -> Self {
        Selection::default()
    }

    /// These, by their numbers.
    pub fn ids(mut self, ids: impl IntoIterator<Item = i64>) -> Self {
        self.filter.ids = Some(ids.into_iter().collect());
        self
    }

    /// Those of this group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.filter.group = Some(group.into());
        self
    }

    /// Those of this topic.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.filter.topic = Some(topic.into());
        self
    }

    /// Those that were set aside at this time or later.
    pub fn since(mut self, time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.filter.since_ms = Some(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        self
    }

    /// Those of this key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.filter.record_key = Some(key.into());
        self
    }

    /// Those of this reason: `poison`, `failed`, `overran`, `panicked` or `killed`.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.filter.reason = Some(reason.into());
        self
    }

    /// Those in this state. Where it is not said, a list has those that wait for somebody or to be handled again.
    pub fn state(mut self, state: State) -> Self {
        self.filter.states.push(state.into());
        if state == State::Parked {
            self.filter.states.push(Stands::Urged);
        }
        self
    }

    /// So many at most in a list, the oldest; 10,000 where it is not said.
    pub fn limit(mut self, limit: u32) -> Self {
        self.filter.limit = Some(limit.into());
        self
    }

    fn or_in(&self, states: &[Stands]) -> Filter {
        let mut filter = self.filter.clone();
        if filter.states.is_empty() {
            filter.states = states.to_vec();
        }
        filter
    }

    /// Only those that are in one of these states can change.
    fn only_in(&self, states: &[Stands]) -> Filter {
        let mut filter = self.or_in(states);
        filter.states.retain(|state| states.contains(state));
        filter
    }
}

/// A database whose dead letters can be looked at: every one that eos knows.
#[expect(private_bounds, reason = "what is asked of the table is nobody else's to answer")]
pub trait LetterDatabase: TxDatabase + LetterDialect {}

impl<DB: TxDatabase + LetterDialect> LetterDatabase for DB {}

impl<DB: LetterDatabase> DeadLetters<DB> {
    /// Those of a pool's database, in the schema that the settings of this process say for it.
    pub fn of(pool: &Pool<DB>) -> Self {
        DeadLetters { store: Store::of(pool.clone(), Home::of(pool)) }
    }

    /// Those in this schema of a pool's database; for tools that have no settings.
    pub fn in_schema(pool: &Pool<DB>, schema: &str) -> Self {
        DeadLetters { store: Store::new(pool.clone(), DB::qualified(schema)) }
    }

    /// Lists them, the oldest first.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn list(&self, selection: &Selection) -> sqlx::Result<Vec<DeadLetter>> {
        let filter = selection.or_in(&[Stands::Dead, Stands::Wanted]);
        Ok(DB::letters(&self.store, &filter).await?.into_iter().map(DeadLetter::from).collect())
    }

    /// Has the dead ones among them handled again, by running listeners of their groups; says how many were marked.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn replay(&self, selection: &Selection) -> sqlx::Result<u64> {
        DB::turn_to(&self.store, &selection.only_in(&[Stands::Dead]), Stands::Wanted).await
    }

    /// Marks those that wait as discarded: they stay in the table, and are never handled. Says how many there were.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done, as a whole.
    pub async fn discard(&self, selection: &Selection) -> sqlx::Result<u64> {
        DB::turn_to(&self.store, &selection.only_in(&[Stands::Dead, Stands::Wanted]), Stands::Discarded).await
    }

    /// Gives a dead one another payload, for its replay; `None` makes it a tombstone. The payload that came is kept beside
    /// it, and when it was changed. Says whether there was one: what is to be replayed already may be under way.
    ///
    /// # Errors
    /// The database's.
    ///
    /// # Cancel safety
    /// Done or not done.
    pub async fn edit(&self, id: i64, payload: Option<&[u8]>) -> sqlx::Result<bool> {
        DB::edit(&self.store, id, payload).await
    }
}

impl From<Stored> for DeadLetter {
    fn from(stored: Stored) -> Self {
        let Stored {
            id, state, key, record, listener, attempts, reason, error, set_aside_ms, edited, ..
        } = stored;
        DeadLetter {
            id,
            state: state.into(),
            group: key.group.to_string(),
            topic: key.topic.to_string(),
            partition: key.partition,
            offset: record.offset(),
            record,
            listener,
            attempts,
            reason,
            error,
            set_aside_at: UNIX_EPOCH + Duration::from_millis(set_aside_ms.unsigned_abs()),
            edited,
        }
    }
}

impl From<Stands> for State {
    fn from(state: Stands) -> Self {
        match state {
            Stands::Dead => State::Dead,
            Stands::Parked | Stands::Urged => State::Parked,
            Stands::Wanted => State::Wanted,
            Stands::Replayed => State::Replayed,
            Stands::Discarded => State::Discarded,
        }
    }
}

impl From<State> for Stands {
    fn from(state: State) -> Self {
        match state {
            State::Dead => Stands::Dead,
            State::Parked => Stands::Parked,
            State::Wanted => Stands::Wanted,
            State::Replayed => Stands::Replayed,
            State::Discarded => Stands::Discarded,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Dead => "dead",
            State::Parked => "parked",
            State::Wanted => "wanted",
            State::Replayed => "replayed",
            State::Discarded => "discarded",
        })
    }
}
