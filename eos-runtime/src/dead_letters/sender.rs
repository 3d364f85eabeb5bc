//! Dead letters on their way to a topic, one after the other: written with all acknowledgements, in the first form that the
//! topic takes, into the partition of the record's own number where there is one.
//!
//! Whoever handed a letter over is told that it is there, or why not; nothing is tried again here.

use tokio::sync::mpsc;

use super::headers::{Form, headers, weight};
use crate::kafka::{
    ClientOptions, KafkaFailure, NotSent, Outgoing, Producer, ProducerOptions, Topic, Topics,
};
use crate::settings::Properties;
use crate::source::{LetterToTopic, Request};

/// What writes them.
#[derive(Debug)]
pub(crate) struct Sender {
    client: ClientOptions,
    topics: Topics,
    /// Made when it is needed, and anew when librdkafka has given it up.
    producer: Option<Producer>,
}

impl Sender {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings.
    pub(crate) fn new(client: &ClientOptions) -> Result<Self, KafkaFailure> {
        Ok(Sender { client: client.clone(), topics: Topics::new(client)?, producer: None })
    }

    /// Sends what is handed over, until nobody can hand anything over any more; dropped when the process stops.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { letter, done }) = requests.recv().await {
            let outcome = self.send(&letter).await;
            // Whoever asked may be gone: the letter is there all the same, or will come again.
            drop(done.send(outcome));
        }
        if let Some(producer) = self.producer {
            producer.close().await;
        }
    }

    async fn send(&mut self, letter: &LetterToTopic) -> Result<(), String> {
        let to = &letter.to;
        let (max_bytes, partitions) = match self.topics.look(to).await {
            Ok(Topic::Known { max_bytes, partitions }) => (max_bytes, partitions),
            Ok(Topic::Missing) => {
                return Err(format!(
                    "the topic `{to}` does not exist; make it, with as many partitions as `{}`, or say `dead_letter = \
                     topic(\"…\")` or `\"off\"`",
                    letter.record.topic()
                ));
            }
            Ok(Topic::Forbidden) => {
                return Err(format!("nobody may write to the topic `{to}`; give us the right"));
            }
            Ok(Topic::Impossible) => return Err(format!("`{to}` cannot be a topic's name")),
            Err(why) => return Err(format!("the brokers do not answer: {why}")),
        };
        let partition = Some(letter.record.partition()).filter(|partition| *partition < partitions);
        let mut refused = None;
        for form in Form::ALL {
            let (payload, headers) = (form.payload(letter), headers(letter, form));
            let is_last = form == Form::Pointer;
            if !is_last && weight(letter, payload.as_ref(), &headers) > max_bytes {
                continue;
            }
            let outgoing = Outgoing {
                topic: to,
                partition,
                key: letter.key(),
                payload: payload.as_deref(),
                headers: &headers,
                added: [None, None],
            };
            match self.write(outgoing, max_bytes).await? {
                None => return Ok(()),
                Some(failure) if failure.is_too_large() => refused = Some(failure),
                Some(failure) => {
                    self.topics.forget(to);
                    return Err(format!("`{to}` refuses it: {}", failure.code));
                }
            }
        }
        self.topics.forget(to);
        Err(match refused {
            Some(failure) => format!("`{to}` refuses it in every form: {}", failure.code),
            None => format!("`{to}` takes no record of this size"),
        })
    }

    /// One record; what became of it.
    async fn write(&mut self, outgoing: Outgoing<'_>, max_bytes: usize) -> Result<Option<NotSent>, String> {
        if self.producer.as_ref().is_some_and(Producer::is_broken)
            && let Some(broken) = self.producer.take()
        {
            broken.close().await;
        }
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let options = ProducerOptions::in_order(None, max_bytes, Properties::default());
                Producer::new(&self.client, &options).map_err(|failure| failure.to_string())?
            }
        };
        let failures = producer.send(std::iter::once(outgoing)).await;
        self.producer = Some(producer);
        Ok(failures.into_iter().next())
    }
}
