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
    let mut whither = Whither::default();
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
        let elsewhere = whither.is_elsewhere(&batch, front);
        let full = batch.entries.len() >= ENTRIES || bytes + weighs > BYTES;
        if !batch.entries.is_empty() && (large || elsewhere || full) {
            return Ok(Next::Send(batch));
        }
        let Some(waiting) = queue.pop_front() else { break };
        match Ready::of(waiting) {
            Ok(ready) => {
                bytes += weighs;
                whither.note(&ready.waiting);
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

/// Which topic the keys of a batch go to. Where all go to one, as they do most of the time, nobody has to know.
#[derive(Debug, Default)]
struct Whither {
    /// From the second topic on, and by hash alone: two keys that are taken for one end a batch too soon, and that is all.
    topic_of_key: Option<HashMap<u64, u64>>,
}

impl Whither {
    /// Whether an earlier entry of its key goes to another topic.
    fn is_elsewhere(&mut self, batch: &Batch, waiting: &Waiting) -> bool {
        let Some(first) = batch.entries.first() else { return false };
        if self.topic_of_key.is_none() {
            if first.waiting.topic == waiting.topic {
                return false;
            }
            self.topic_of_key = Some(HashMap::new());
            batch.entries.iter().for_each(|ready| self.note(&ready.waiting));
        }
        let topics = self.topic_of_key.get_or_insert_default();
        let Some((key, topic)) = hashed(topics.hasher(), waiting) else { return false };
        topics.get(&key).is_some_and(|known| *known != topic)
    }

    /// It goes with the batch.
    fn note(&mut self, waiting: &Waiting) {
        if let Some(topics) = &mut self.topic_of_key
            && let Some((key, topic)) = hashed(topics.hasher(), waiting)
        {
            topics.insert(key, topic);
        }
    }
}

/// Its key and its topic, where it has a key.
fn hashed(hasher: &impl BuildHasher, waiting: &Waiting) -> Option<(u64, u64)> {
    let key = waiting.aggregate_id.as_deref()?;
    Some((hasher.hash_one(key), hasher.hash_one(&*waiting.topic)))
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn waiting(topic: &str, key: Option<&str>) -> Waiting {
        Waiting {
            seq: 1,
            id: "1".into(),
            topic: topic.into(),
            aggregate_id: key.map(str::to_owned),
            binary_key: None,
            type_name: "Placed".into(),
            payload: None,
            headers: None,
            created: Instant::now(),
        }
    }

    #[test]
    fn a_key_is_elsewhere_only_where_an_earlier_entry_of_it_goes_to_another_topic() {
        let (mut whither, mut batch) = (Whither::default(), Batch::default());
        let mut elsewhere = |topic, key| {
            let waiting = waiting(topic, key);
            let is_elsewhere = whither.is_elsewhere(&batch, &waiting);
            whither.note(&waiting);
            batch.entries.push(Ready { waiting, headers: Vec::new() });
            is_elsewhere
        };
        for key in [Some("a"), Some("b"), None, Some("a")] {
            assert!(!elsewhere("order", key), "there is one topic");
        }
        assert!(!elsewhere("payment", Some("c")), "a new key");
        assert!(!elsewhere("payment", None), "without a key there is no order");
        assert!(!elsewhere("order", Some("b")));
        assert!(elsewhere("payment", Some("a")), "an entry from before there were two topics");
        assert!(elsewhere("order", Some("c")));
    }
}
