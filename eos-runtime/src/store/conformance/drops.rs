//! An attempt whose future was dropped, wherever it was: taking the partition again says what it was.

use super::harness::*;

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
            let patience = std::time::Duration::from_micros(u64::try_from(round).expect("small") * 150);
            let _unheard = tokio::time::timeout(patience, &mut committing).await;
        }
        let truth = take(h, 0).await;
        let committed = effects(h).await - before;
        assert_eq!(truth.next_offset, next + committed, "position and effects go together");
    }
}
