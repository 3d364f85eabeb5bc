//! One record through one attempt, without a broker: what users' tests run.
//!
//! The same extraction, claim, handler and commit as a worker's, against the same tables.

use std::sync::Arc;

use super::failure::Failure;
use super::invoke::{Allowance, handle, invoke};
use super::message_id::InboxId;
use super::span;
use super::work::Work;
use crate::error::BoxError;
use crate::kafka_tx::{KafkaTx, OutputId};
use crate::listener::spec::{Handler, PlainHandler, TxHandler};
use crate::record::Record;
use crate::store::{Claim, Claimed, CommitFailed, Dialect, Idle, PartitionKey, Store, Tx};

/// What became of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Once {
    Applied,
    Duplicate,
}

/// Delivers to a transactional listener. A record without an offset gets the next one.
///
/// # Errors
/// What the handler, the extraction or the database said; everything was rolled back then.
pub(crate) async fn transactional<D: Dialect>(
    work: &Work,
    store: &Arc<Store<D>>,
    handler: Handler<Tx<D>>,
    mut record: Record,
) -> Result<Once, BoxError> {
    let key = PartitionKey {
        group: Arc::clone(&work.group),
        topic: Arc::clone(record.topic_shared()),
        partition: record.partition(),
    };
    let stream = D::stream(store, &key.group, &key.topic, None, work.options()).await?;
    let taken = D::take(store, &key, 0, stream, record.offset().max(0), None, work.options()).await?;
    let Some(hold) = taken else { return Err("the partition has no position".into()) };
    if record.offset() < 0 {
        record.set_offset(hold.next_offset);
    } else if record.offset() < hold.next_offset {
        return Ok(Once::Duplicate);
    }
    let session = Idle::open(Arc::clone(store), work.options(), hold).await.map_err(|(error, _)| error)?;
    let id = work.inbox_id(&record);
    let claim = Claim { record: record.as_last(), message_id: id.as_ref().map(InboxId::as_bytes) };
    let (open, once) = match session.begin(claim).await.map_err(|(error, _)| error)? {
        Claimed::NotOurs(_) => return Err("another delivery to this partition came in between".into()),
        Claimed::Duplicate(open) => (open, Once::Duplicate),
        Claimed::Fresh(mut open) => {
            let outcome = {
                let delivery = work.delivery(&record, 1);
                handle(work, handler, &mut open, &[delivery], Allowance::from_now(work.deadline)).await
            };
            if let Err(failure) = outcome {
                open.rollback().await.into_hold().await;
                return Err(failure.into());
            }
            (open, Once::Applied)
        }
    };
    match open.commit().await {
        Ok(session) => {
            session.close().await;
            Ok(once)
        }
        Err((CommitFailed::Strayed(error), _)) => Err(Failure::Strayed(error).into()),
        Err((CommitFailed::RolledBack(error) | CommitFailed::InDoubt(error), _)) => {
            Err(Failure::Commit(error).into())
        }
    }
}

/// Delivers to a plain listener, or to an idempotent one, whose id is claimed and marked as by a worker.
///
/// # Errors
/// What the handler, the extraction or Redis said.
pub(crate) async fn plain(work: &Work, handler: PlainHandler, record: &Record) -> Result<Once, BoxError> {
    let delivery = work.delivery(record, 1);
    let span = span::of(work, std::slice::from_ref(&delivery));
    let run = async || invoke(handler(&delivery), Allowance::from_now(work.deadline), span).await;
    match &work.deduped {
        None => run().await?,
        Some(deduped) => return deduped.once(work, record, run).await,
    }
    Ok(Once::Applied)
}

/// One through an exactly-once listener; what it sends goes nowhere.
pub(crate) async fn exactly_once(
    work: &Work,
    handler: TxHandler<KafkaTx>,
    record: &Record,
) -> Result<Once, BoxError> {
    let mut out = KafkaTx::new(Arc::clone(&work.group), OutputId::default(), record.clone(), 1);
    let delivery = work.delivery(record, 1);
    let span = span::of(work, std::slice::from_ref(&delivery));
    invoke(handler(&mut out, &delivery), Allowance::from_now(work.deadline), span).await?;
    Ok(Once::Applied)
}
