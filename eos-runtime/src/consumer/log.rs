//! What is said of a record that failed: once each, with all that whoever is woken needs, and what happens next.
//!
//! Nothing that a producer sends can fill a log: of each kind of line so many are said in a while, and the others are counted
//! and summed up in one line. A record that is tried for ever is said ever more rarely.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::work::Work;
use crate::record::Record;
use crate::settings::LogKeys;
use crate::store::Reason;

/// So many lines of a kind are said in a while.
const SAID_IN_FULL: u32 = 20;
/// From here on a record's attempts are said when their number has doubled.
const ATTEMPTS_IN_FULL: u32 = 8;

/// What a listener's workers say of records.
#[derive(Debug)]
pub(crate) struct Log {
    keys: LogKeys,
    /// A while.
    every: Duration,
    kinds: Mutex<[Kind; Fate::KINDS]>,
}

/// What was said and counted of one kind, in this while.
#[derive(Debug, Default)]
struct Kind {
    since: Option<Instant>,
    said: u32,
    unsaid: Option<Unsaid>,
}

/// What was only counted, and the last of it.
#[derive(Debug)]
struct Unsaid {
    count: u64,
    topic: String,
    partition: i32,
    offset: i64,
    error: String,
}

/// What becomes of a record whose attempt failed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate<'a> {
    /// Its partition waits, and it is tried again.
    Again(Duration),
    /// It is parked, and tried again.
    Parked(Duration),
    /// It was parked, and waits once more.
    StaysParked(Duration),
    /// It is a dead letter in the table.
    Dead(Reason),
    /// It is one in this topic.
    DeadInTopic(&'a str, Reason),
    /// It was parked, and is a dead letter in the table.
    DeadOfParked(Reason),
    /// It was replayed, and is one again.
    DeadAgain(Reason),
    /// Its offset was committed before, and it is not tried again.
    Lost,
}

impl Fate<'_> {
    const KINDS: usize = 8;

    fn kind(self) -> usize {
        match self {
            Fate::Again(_) => 0,
            Fate::Parked(_) => 1,
            Fate::StaysParked(_) => 2,
            Fate::Dead(_) => 3,
            Fate::DeadInTopic(..) => 4,
            Fate::DeadOfParked(_) => 5,
            Fate::DeadAgain(_) => 6,
            Fate::Lost => 7,
        }
    }
}

/// What the lines of a kind have in common, for their sum.
const ALIKE: [&str; Fate::KINDS] = [
    "attempts failed, and are made again",
    "records failed and were parked",
    "parked records failed again",
    "records were set aside in `eos_dead_letter`",
    "records were set aside in a topic of dead letters",
    "parked records were set aside in `eos_dead_letter`",
    "dead letters were replayed, and failed again",
    "records failed, whose offsets were committed before",
];

impl Log {
    pub(crate) fn new(keys: LogKeys, every: Duration) -> Self {
        Log { keys, every, kinds: Mutex::default() }
    }

    /// A record's key as a log may have it.
    pub(super) fn key<'k>(&self, key: Option<&'k [u8]>) -> Key<'k> {
        Key { key, keys: self.keys }
    }

    /// Whether this one is said; it is counted otherwise.
    fn says(&self, fate: Fate<'_>, record: &Record, attempt: u32, error: &str) -> bool {
        let mut kinds = self.lock();
        let kind = &mut kinds[fate.kind()];
        if kind.since.is_none_or(|since| since.elapsed() >= self.every) && kind.unsaid.is_none() {
            *kind = Kind { since: Some(Instant::now()), ..Kind::default() };
        }
        let is_rare = attempt <= ATTEMPTS_IN_FULL || attempt.is_power_of_two();
        let is_said_always = !matches!(fate, Fate::Again(_) | Fate::StaysParked(_));
        if kind.said < SAID_IN_FULL && (is_rare || is_said_always) {
            kind.said += 1;
            return true;
        }
        let count = kind.unsaid.take().map_or(0, |unsaid| unsaid.count) + 1;
        kind.unsaid = Some(Unsaid {
            count,
            topic: record.topic().to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            error: error.to_owned(),
        });
        false
    }

    /// What was counted and not said, of each kind whose while is over; all of it when the process stops.
    fn sums(&self, all: bool) -> Vec<(&'static str, Unsaid)> {
        let mut kinds = self.lock();
        let over = kinds.iter_mut().zip(ALIKE).filter_map(|(kind, alike)| {
            let is_over = all || kind.since.is_none_or(|since| since.elapsed() >= self.every);
            let unsaid = if is_over { kind.unsaid.take() } else { None };
            unsaid.map(|unsaid| {
                *kind = Kind { since: Some(Instant::now()), ..Kind::default() };
                (alike, unsaid)
            })
        });
        over.collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Kind; Fate::KINDS]> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Says what became of a record whose attempt failed.
    pub(super) fn say(&self, record: &Record, attempt: u32, error: &str, fate: Fate<'_>) {
        if !self.log.says(fate, record, attempt, error) {
            return;
        }
        /// A line with the fields that all of them have.
        macro_rules! line {
            ($level:ident, { $($more:tt)* } $($words:tt)*) => {
                tracing::$level!(
                    listener = %self.id, topic = record.topic(), partition = record.partition(),
                    offset = record.offset(), key = %self.log.key(record.key()), attempt,
                    of = self.attempts_at_most(), error, $($more)* $($words)*
                )
            };
        }
        match fate {
            Fate::Again(wait) => line!(
                warn, {}
                "the attempt failed; the partition waits and tries again in {wait:.1?}"
            ),
            Fate::Parked(wait) => line!(
                warn, {}
                "the attempt failed; the record and later ones of its key are parked, and it is tried \
                 again in {wait:.1?}"
            ),
            Fate::StaysParked(wait) => line!(
                warn, {} "a parked record failed again; its key waits and it is tried again in {wait:.1?}"
            ),
            Fate::Dead(reason) => line!(
                error, { reason = reason.word(), }
                "the record is set aside in `eos_dead_letter`, and its partition goes on"
            ),
            Fate::DeadInTopic(topic, reason) => line!(
                error, { reason = reason.word(), }
                "the record is set aside in the topic `{topic}`, and its partition goes on"
            ),
            Fate::DeadOfParked(reason) => line!(
                error, { reason = reason.word(), }
                "a parked record is set aside in `eos_dead_letter`, and its key goes on"
            ),
            Fate::Lost => line!(
                error, {} "the handler failed, and the record is not tried again: it is handled at most once"
            ),
            Fate::DeadAgain(reason) => line!(
                error, { reason = reason.word(), } "a dead letter was replayed, and failed again"
            ),
        }
    }

    /// Sums up what was counted and not said, where it is time.
    pub(crate) fn sum_up(&self) {
        self.say_sums(false);
    }

    /// Sums up all of it: the process stops.
    pub(crate) fn sum_up_at_last(&self) {
        self.say_sums(true);
    }

    fn say_sums(&self, all: bool) {
        for (alike, Unsaid { count, topic, partition, offset, error }) in self.log.sums(all) {
            tracing::warn!(
                listener = %self.id, more = count, topic, partition, offset, error,
                "{count} more {alike}; this is the last of them"
            );
        }
    }
}

/// A key as a log may have it: a hash by which equal ones are known, or its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'k> {
    key: Option<&'k [u8]>,
    keys: LogKeys,
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 64;
        match (self.key, self.keys) {
            (None, _) => f.write_str("none"),
            (Some(key), LogKeys::Hashed) => {
                let hash = Sha256::digest(key);
                hash[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            (Some(key), LogKeys::Text) => {
                write!(f, "{}", key[..key.len().min(LONGEST)].escape_ascii())?;
                if key.len() > LONGEST { f.write_str("…") } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64) -> Record {
        Record::builder("event.order").at(0, offset).key("customer-7").build()
    }

    #[test]
    fn so_many_are_said_in_a_while_and_the_others_are_summed_up() {
        let log = Log::new(LogKeys::Hashed, Duration::from_millis(50));
        let dead = Fate::Dead(Reason::Failed);
        let said = (0..100).filter(|offset| log.says(dead, &record(*offset), 5, "no customer")).count();
        assert_eq!(said, SAID_IN_FULL as usize);
        assert!(log.says(Fate::Parked(Duration::ZERO), &record(0), 1, ""), "each kind for itself");
        assert!(log.sums(false).is_empty(), "not yet");
        std::thread::sleep(Duration::from_millis(60));
        let sums = log.sums(false);
        let [(alike, unsaid)] = &sums[..] else { panic!("one sum: {sums:?}") };
        assert_eq!((*alike, unsaid.count, unsaid.offset), (ALIKE[3], 80, 99));
        assert!(log.says(dead, &record(0), 5, ""), "and they are said again");
    }

    #[test]
    fn a_record_that_is_tried_for_ever_is_said_ever_more_rarely() {
        let log = Log::new(LogKeys::Hashed, Duration::ZERO);
        let again = Fate::Again(Duration::ZERO);
        let said: Vec<u32> =
            (1..=1000).filter(|attempt| log.says(again, &record(0), *attempt, "down")).collect();
        assert_eq!(said, [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(log.sums(true)[0].1.count, 986);
    }

    #[test]
    fn keys_are_hashed_unless_they_may_be_said() {
        let hashed = Log::new(LogKeys::Hashed, Duration::ZERO);
        let text = Log::new(LogKeys::Text, Duration::ZERO);
        assert_eq!(hashed.key(Some(b"customer-7")).to_string(), "acade5fe58d0");
        assert_eq!(hashed.key(None).to_string(), "none");
        assert_eq!(text.key(Some(b"customer-7\n\xff")).to_string(), "customer-7\\n\\xff");
        assert_eq!(text.key(Some(&[b'a'; 100])).to_string().chars().count(), 65);
    }
}
