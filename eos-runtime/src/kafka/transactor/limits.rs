//! What the topics take of a transaction's outputs, known before anything is handed over: one output that its topic does not
//! take would take the whole transaction with it, and a batch that is larger than a topic takes all that is in it.

use uuid::fmt::Hyphenated;

use super::open::{Open, Void};
use crate::kafka::client::ClientOptions;
use crate::kafka::failure::KafkaFailure;
use crate::kafka::producer::{Fate, NotSent};
use crate::kafka::topics::{Topic, Topics};
use crate::record::MESSAGE_ID;
use crate::source::{Output, Portion, Tap};

/// What is known of the topics that a lane writes to.
pub(super) struct Limits {
    topics: Topics,
    /// Less than the topics say, where one of them took less.
    at_most: usize,
}

/// What a request has around its records.
const ENVELOPE: usize = 512;

impl Limits {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(super) fn new(client: &ClientOptions) -> Result<Self, KafkaFailure> {
        Ok(Limits { topics: Topics::new(client)?, at_most: usize::MAX })
    }

    /// What can be sent as one batch, as far as is known.
    pub(super) fn batch(&self) -> usize {
        self.topics.smallest_limit().saturating_sub(ENVELOPE).min(self.at_most).max(1)
    }

    /// Whether the topics are there, and take what is sent to them; a record that is to blame is refused.
    pub(super) async fn admit(&self, from: &Tap, portion: &Portion) -> Result<(), Void> {
        let mut looked: Option<(&str, usize)> = None;
        for (offset, output) in &portion.outputs {
            let to = &*output.topic;
            // Neighbours have the same topic most of the time.
            let limit = match looked {
                Some((topic, limit)) if topic == to => limit,
                Some(_) | None => self.of(to, from, *offset).await?,
            };
            looked = Some((to, limit));
            let weight = weight(output);
            if weight > limit {
                let why = format!("{weight} bytes are more than `{to}` takes (`max.message.bytes`)");
                from.refuse(*offset, why.clone());
                return Err(Void::Aborted(why));
            }
        }
        Ok(())
    }

    async fn of(&self, to: &str, from: &Tap, offset: i64) -> Result<usize, Void> {
        let why = match self.topics.look(to).await {
            Ok(Topic::Known { max_bytes, .. }) => return Ok(max_bytes),
            Ok(Topic::Missing) => format!("the topic `{to}` does not exist; make it"),
            Ok(Topic::Forbidden) => format!("nobody may write to the topic `{to}`; give us the right"),
            Ok(Topic::Impossible) => {
                let why = format!("`{to}` cannot be a topic's name");
                from.refuse(offset, why.clone());
                why
            }
            Err(why) => format!("the brokers do not tell of the topic `{to}`: {why}"),
        };
        Err(Void::Aborted(why))
    }

    /// Whose output cannot be written as it is. A batch that is too large fails as a whole, whoever is to blame, so that smaller
    /// ones than these are sent from then on until one is alone; whether they are is said. A topic that is missing or forbidden
    /// is no record's fault: it is waited for.
    pub(super) fn learn(&mut self, open: &Open, failures: &[NotSent], batch_bytes: usize) -> bool {
        let mut refused =
            failures.iter().filter(|failure| failure.fate() == Fate::Refused && !failure.is_of_topic());
        let Some(first) = refused.next() else { return false };
        let Some((tap, origin)) = open.origin(first) else { return false };
        self.topics.forget(&origin.to);
        if first.is_too_large() && refused.next().is_some() && batch_bytes > 1 {
            self.at_most = batch_bytes / 8;
            return true;
        }
        tap.refuse(origin.offset, first.code.to_string());
        false
    }
}

/// About what a broker counts for it.
fn weight(output: &Output) -> usize {
    const AROUND: usize = 100;
    const AROUND_A_HEADER: usize = 10;
    let id = output.id.map_or(0, |_| MESSAGE_ID.len() + Hyphenated::LENGTH + AROUND_A_HEADER);
    AROUND + output.bytes() + output.headers.len() * AROUND_A_HEADER + id
}
