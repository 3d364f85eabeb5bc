//! An attempt whose future was dropped, wherever it was: taking the partition again says what it was.

use std::time::Duration;

use super::harness::*;
use crate::store::{Claimed, Open};

pub(super) async fn a_commit_that_was_dropped_is_settled_by_taking_again<H: Harness>(h: &H) {
    for round in 0..8 {
        let hold = take(h, 0).await;
        let next = hold.next_offset;
        let before = effects(h).await;
        let mut open = fresh(begin(session(h, hold).await, at(next)).await);
        effect::<H>(&mut open, round).await;
        {
            let mut committing = std::pin::pin!(open.commit());
            // It is polled once, or a few times, and then forgotten.
            let patience = Duration::from_micros(u64::try_from(round).expect("small") * 150);
            let _unheard = tokio::time::timeout(patience, &mut committing).await;
        }
        let truth = take(h, 0).await;
        let committed = effects(h).await - before;
        assert_eq!(truth.next_offset, next + committed, "position and effects go together");
    }
}

pub(super) async fn an_attempt_dropped_at_any_moment_loses_nothing_and_doubles_nothing<H: Harness>(h: &H) {
    for round in 0..60 {
        let from = take(h, 0).await.next_offset;
        let worker = tokio::spawn({
            let store = std::sync::Arc::clone(h.store());
            async move {
                let hold = take_within::<H>(&store, 0, DEADLINE).await;
                let mut claimed =
                    begin(session_with::<H>(&store, hold, options(DEADLINE)).await, at(from)).await;
                for offset in from.. {
                    let Claimed::Fresh(open) = claimed else { panic!("it is the only owner") };
                    claimed = next::<H>(open, offset).await;
                }
            }
        });
        tokio::time::sleep(Duration::from_micros(round * 731)).await;
        worker.abort();
        drop(worker.await);
    }
    let end = take(h, 0).await.next_offset;
    assert!(end > 0, "some came through");
    assert_eq!(effects(h).await, end, "each once");
    assert_eq!(h.number("select count(distinct n) from effect").await, end, "none missing");
}

async fn next<H: Harness>(mut open: Open<H::D>, offset: i64) -> Claimed<H::D> {
    effect::<H>(&mut open, offset).await;
    match open.commit_and_begin(at(offset + 1)).await {
        Ok(claimed) => claimed,
        Err(_) => panic!("nothing disturbs it but being dropped"),
    }
}
