//! Entries as records, as many at once as cannot hurt each other.
//!
//! A batch never holds two entries of one key for different topics: where the first is refused, the second, in another
//! topic's queue, would have slipped past. And an entry that may be too large for its topic goes alone, since a limit is
//! on what is sent together: a hundred small ones must not be refused with it.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;

use super::reader::weight;
use crate::event::TYPE_HEADER;
use crate::kafka::{Outgoing, Topic, Topics};
use crate::record::MESSAGE_ID;
use crate::store::{Refusal, Sent, Waiting, read_headers};

/// What is sent at once at the most.
const ENTRIES: usize = 2_500;
const BYTES: usize = 8 * 1024 * 1024;

/// Entries that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Ready>,
}

/// An entry, ready to leave.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) waiting: Waiting,
    /// Those of the column.
    headers: Vec<(Cow<'static, str>, Option<Bytes>)>,
}

/// Why the next entry cannot be sent at all.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) waiting: Waiting,
    pub(super) refusal: Refusal,
    pub(super) why: String,
}

/// What stands at the front of the queue.
#[derive(Debug)]
pub(super) enum Next {
    /// These can be sent.
    Send(Batch),
    /// This one cannot.
    Refuse(Unfit),
    /// Nothing waits.
    Nothing,
}

/// Takes the next batch from the queue; `one` takes a single entry.
///
/// # Errors
/// The brokers do not tell what they know of a topic. What was taken is lost to the queue; the lane begins again and reads it.
pub(super) async fn next(queue: &mut VecDeque<Waiting>, topics: &Topics, one: bool) -> Result<Next, String> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    // By hash alone: two keys that are taken for one end a batch too soon, and that is all.
    let mut topic_of_key: HashMap<u64, u64> = HashMap::new();
    // Neighbours have the same topic most of the time.
    let mut looked: Option<(Arc<str>, Topic)> = None;
    while let Some(front) = queue.front() {
        let known = match &looked {
            Some((topic, known)) if *topic == front.topic => *known,
            Some(_) | None => {
                let known = topics.look(&front.topic).await?;
                looked = Some((Arc::clone(&front.topic), known));
                known
            }
        };
        let limit = match known {
            Topic::Known { max_bytes, .. } => max_bytes,
            unfit @ (Topic::Missing | Topic::Forbidden | Topic::Impossible) => {
                if !batch.entries.is_empty() {
                    return Ok(Next::Send(batch));
                }
                topics.forget(&front.topic);
                let why = objection(&front.topic, unfit);
                return Ok(queue.pop_front().map_or(Next::Nothing, |waiting| {
                    Next::Refuse(Unfit { waiting, refusal: refusal(unfit), why })
                }));
            }
        };
        let weighs = weight(front);
        let large = weighs >= limit;
        let hash = |text: &str| topic_of_key.hasher().hash_one(text);
        let (key, topic) = (front.aggregate_id.as_deref().map(hash), hash(&front.topic));
        let elsewhere = key.is_some_and(|key| topic_of_key.get(&key).is_some_and(|known| *known != topic));
        let full = batch.entries.len() >= ENTRIES || bytes + weighs > BYTES;
        if !batch.entries.is_empty() && (large || elsewhere || full) {
            return Ok(Next::Send(batch));
        }
        let Some(waiting) = queue.pop_front() else { break };
        match Ready::of(waiting) {
            Ok(ready) => {
                bytes += weighs;
                if let Some(key) = key {
                    topic_of_key.insert(key, topic);
                }
                batch.entries.push(ready);
            }
            Err(unfit) if batch.entries.is_empty() => return Ok(Next::Refuse(*unfit)),
            Err(unfit) => {
                queue.push_front(unfit.waiting);
                return Ok(Next::Send(batch));
            }
        }
        if one || large {
            break;
        }
    }
    Ok(if batch.entries.is_empty() { Next::Nothing } else { Next::Send(batch) })
}

fn objection(topic: &str, known: Topic) -> String {
    match known {
        Topic::Forbidden => format!("the broker does not let us write to the topic `{topic}`"),
        Topic::Impossible => format!("`{topic}` cannot be a topic's name"),
        Topic::Missing | Topic::Known { .. } => format!("there is no topic `{topic}`"),
    }
}

fn refusal(known: Topic) -> Refusal {
    match known {
        Topic::Missing | Topic::Forbidden => Refusal::Topic,
        Topic::Impossible | Topic::Known { .. } => Refusal::Record,
    }
}

impl Ready {
    fn of(waiting: Waiting) -> Result<Self, Box<Unfit>> {
        let mut headers = Vec::new();
        if let Some(text) = &waiting.headers {
            match read_headers(text) {
                Ok(read) => {
                    for (name, value) in read.into_entries() {
                        headers.push((Cow::Owned(String::from_utf8_lossy(&name).into_owned()), value));
                    }
                }
                Err(error) => {
                    let why = format!("its column `headers` is not what it should be: {error}");
                    return Err(Box::new(Unfit { waiting, refusal: Refusal::Record, why }));
                }
            }
        }
        Ok(Ready { waiting, headers })
    }

    /// What every record carries, unless the column says otherwise.
    fn added(&self) -> [Option<(&'static str, &[u8])>; 2] {
        let Waiting { type_name, id, .. } = &self.waiting;
        let missing = |name| !self.headers.iter().any(|(known, _)| known == name);
        [
            (!type_name.is_empty() && missing(TYPE_HEADER)).then_some((TYPE_HEADER, type_name.as_bytes())),
            missing(MESSAGE_ID).then_some((MESSAGE_ID, id.as_bytes())),
        ]
    }

    /// The key's bytes.
    fn key(&self) -> Option<&[u8]> {
        let binary = self.waiting.binary_key.as_deref();
        binary.or(self.waiting.aggregate_id.as_ref().map(|key| key.as_bytes()))
    }

    /// The record that it becomes.
    pub(super) fn record(&self) -> Outgoing<'_> {
        Outgoing {
            topic: &self.waiting.topic,
            partition: None,
            key: self.key(),
            payload: self.waiting.payload.as_deref(),
            headers: &self.headers,
            added: self.added(),
        }
    }
}

impl Batch {
    pub(super) fn sent(&self) -> Vec<Sent> {
        self.entries.iter().map(|ready| ready.waiting.sent()).collect()
    }
}
