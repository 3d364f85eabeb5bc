//! From the table to a topic: rows that are still to be written there are, by whichever process comes first.
//!
//! A row is reserved for a while before it is sent, and marked when it is there. Who dies in between leaves it to the next,
//! so that a reader may see it twice.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::fault;
use crate::source::{LetterBox, LetterToTopic};
use crate::store::{LetterDialect, Store, Unpublished};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// How long a row is reserved.
const RESERVED: Duration = Duration::from_secs(30);
/// How often a trouble that lasts is said.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Publishes for ever; dropped when the process stops.
pub(crate) async fn publish<D: LetterDialect>(store: Arc<Store<D>>, letters: LetterBox) {
    let mut said: Option<SystemTime> = None;
    loop {
        match publish_some(&store, &letters).await {
            Ok(()) => said = None,
            Err(why) => {
                let now = SystemTime::now();
                if said.is_none_or(|at| now.duration_since(at).unwrap_or_default() > SAY_EVERY) {
                    said = Some(now);
                    tracing::warn!(
                        error = why,
                        "dead letters cannot be written to their topic; still trying"
                    );
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// All that waits, in order, up to the first that does not go.
async fn publish_some<D: LetterDialect>(store: &Store<D>, letters: &LetterBox) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    for Unpublished { stored, to, after } in D::unpublished(store, now_ms()).await.map_err(said)? {
        let until = now_ms() + i64::try_from(RESERVED.as_millis()).unwrap_or_default();
        if !D::reserve(store, stored.id, after, until).await.map_err(said)? {
            continue;
        }
        let letter = LetterToTopic {
            to,
            group: Arc::clone(&stored.key.group),
            reason: stored.reason,
            error: stored.error,
            id: Some(stored.id),
            record: stored.record,
        };
        let sent = tokio::time::timeout(RESERVED / 2, letters.send(letter)).await;
        sent.unwrap_or_else(|_| Err("the brokers do not answer in time".to_owned()))?;
        fault::point("publish_after_send");
        D::published(store, stored.id).await.map_err(said)?;
    }
    Ok(())
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
