//! The way of a dead letter to a topic: whoever has one hands it over, and is told when it is there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::record::{Headers, Record};

/// A record that is to be written to a topic of dead letters, with why.
#[derive(Debug, Clone)]
pub(crate) struct LetterToTopic {
    pub(crate) to: String,
    pub(crate) record: Record,
    pub(crate) group: Arc<str>,
    /// `poison`, `failed`, …
    pub(crate) reason: String,
    /// The chain of causes.
    pub(crate) error: String,
    /// Its number in `eos_dead_letter`, where it is there.
    pub(crate) id: Option<i64>,
}

impl LetterToTopic {
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    pub(crate) fn payload(&self) -> Option<Bytes> {
        self.record.payload_bytes()
    }

    pub(crate) fn headers(&self) -> Headers {
        self.record.headers()
    }
}

/// Where they are handed over; the other end sends one after the other.
#[derive(Debug, Clone)]
pub(crate) struct LetterBox {
    requests: mpsc::Sender<Request>,
}

/// One on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) letter: LetterToTopic,
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

impl LetterBox {
    /// The box, and the end that sends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(16);
        (LetterBox { requests }, receiver)
    }

    /// Waits until all brokers that must have it do.
    ///
    /// # Errors
    /// Why it is not there now; it may be tried again.
    ///
    /// # Cancel safety
    /// When it is dropped, the letter may be written all the same.
    pub(crate) async fn send(&self, letter: LetterToTopic) -> Result<(), String> {
        let (done, answer) = oneshot::channel();
        let gone = || "the process stops".to_owned();
        self.requests.send(Request { letter, done }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}
