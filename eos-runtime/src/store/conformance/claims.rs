//! The four outcomes of a claim, and the equality that no record may jump over.

use std::time::Duration;

use super::harness::*;
use crate::listener::spec::Isolation;
use crate::store::{PartitionKey, Standing};

pub(super) async fn a_fresh_record_moves_the_position_and_fills_the_inbox<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, with_id(0, b"a")).await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 1, 1));
    let hold = idle.close().await;
    assert_eq!(hold.next_offset, 1);
    assert_eq!(hold.last, Some(record(0)));
}

pub(super) async fn an_id_seen_before_is_a_duplicate<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, with_id(0, b"a")).await;
    let idle = commit(duplicate(begin(idle, with_id(1, b"a")).await)).await;
    let idle = handle::<H>(idle, with_id(2, b"b")).await;
    idle.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 2, 3));
}

pub(super) async fn the_same_id_on_another_partition_is_a_duplicate<H: Harness>(h: &H) {
    handle::<H>(owner(h, 0).await, with_id(0, b"a")).await.close().await;
    let open = duplicate(begin(owner(h, 1).await, with_id(0, b"a")).await);
    commit(open).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await), (1, 1));
}

pub(super) async fn an_id_in_flight_elsewhere_is_waited_for<H: Harness>(h: &H) {
    let (one, two) = (owner(h, 0).await, owner(h, 1).await);
    let mut first = fresh(begin(one, with_id(0, b"a")).await);
    let second = tokio::spawn(async move { begin(two, with_id(0, b"a")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished(), "the second claim waits for what becomes of the first");
    effect::<H>(&mut first, 0).await;
    commit(first).await.close().await;
    let second = duplicate(second.await.expect("no panic"));
    commit(second).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await), (1, 1));
}

pub(super) async fn an_id_in_flight_elsewhere_that_rolls_back_is_fresh<H: Harness>(h: &H) {
    let (one, two) = (owner(h, 0).await, owner(h, 1).await);
    let mut first = fresh(begin(one, with_id(0, b"a")).await);
    effect::<H>(&mut first, 0).await;
    let second = tokio::spawn(async move { begin(two, with_id(0, b"a")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.rollback().await.into_hold().await;
    let mut second = fresh(second.await.expect("no panic"));
    effect::<H>(&mut second, 0).await;
    commit(second).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await), (1, 1));
}

pub(super) async fn the_same_id_in_another_group_is_fresh<H: Harness>(h: &H) {
    handle::<H>(owner(h, 0).await, with_id(0, b"a")).await.close().await;
    let key = PartitionKey { group: "audit".into(), ..key(0) };
    let hold = take_as::<H>(h.store(), &key, 0, None, DEADLINE).await.expect("taken");
    handle::<H>(session(h, hold).await, with_id(0, b"a")).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await), (2, 2));
}

pub(super) async fn ids_of_any_bytes_are_told_apart<H: Harness>(h: &H) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let ids: Vec<&[u8]> =
        vec![b"", b" ", b"a", b"A", b"a ", b"a\0", b"'; commit; --", b"\\", b"\xff\xfe", b"%_"];
    let mut ids: Vec<&[u8]> = ids.into_iter().chain(every_byte.chunks(64)).collect();
    let longer = [b'x'; 64];
    ids.extend([&longer[..63], &longer[..]]);
    let mut idle = owner(h, 0).await;
    let mut offset = 0;
    for id in &ids {
        idle = handle::<H>(idle, with_id(offset, id)).await;
        offset += 1;
    }
    for id in &ids {
        idle = commit(duplicate(begin(idle, with_id(offset, id)).await)).await;
        offset += 1;
    }
    idle.close().await;
    assert_eq!(inbox(h).await, i64::try_from(ids.len()).expect("few"));
}

pub(super) async fn without_an_id_the_position_alone_dedupes<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, at(0)).await;
    let idle = handle::<H>(idle, at(1)).await;
    idle.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 0, 2));
}

pub(super) async fn an_owner_that_was_replaced_is_fenced_before_its_handler<H: Harness>(h: &H) {
    let zombie = handle::<H>(owner(h, 0).await, at(0)).await;
    let newer = take(h, 0).await;
    let zombie = not_ours(begin(zombie, with_id(1, b"z")).await).into_hold().await;
    assert_eq!(standing(h, &zombie).await, Standing::Fenced);
    assert_eq!(standing(h, &newer).await, Standing::Ours { next_offset: 1 });
    handle::<H>(session(h, newer).await, at(1)).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 0, 2));
}

pub(super) async fn a_lost_tail_is_not_jumped_over<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    for offset in 0..5 {
        idle = handle::<H>(idle, at(offset)).await;
    }
    h.outside(&format!("update {}eos_position set next_offset = 2", h.store().schema)).await;
    let hold = not_ours(begin(idle, with_id(5, b"lost")).await).into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Ours { next_offset: 2 });
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (5, 0, 2));
    let again = take(h, 0).await;
    assert_eq!(again.next_offset, 2);
    handle::<H>(session(h, again).await, at(2)).await.close().await;
    assert_eq!(position(h).await, 3);
}

pub(super) async fn a_position_set_forward_is_not_claimed_either<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, at(0)).await;
    h.outside(&format!("update {}eos_position set next_offset = 9", h.store().schema)).await;
    let hold = not_ours(begin(idle, at(1)).await).into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Ours { next_offset: 9 });
    assert_eq!((effects(h).await, position(h).await), (1, 9));
}

pub(super) async fn offsets_may_have_gaps<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, at(7)).await;
    let idle = handle::<H>(idle, at(1_000_000_000_000)).await;
    assert_eq!(idle.close().await.next_offset, 1_000_000_000_001);
    assert_eq!(position(h).await, 1_000_000_000_001);
}

pub(super) async fn every_isolation_level_claims_handles_and_commits<H: Harness>(h: &H) {
    let mut offset = 0;
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        let options = crate::store::StoreOptions { isolation, ..options(DEADLINE) };
        let mut idle = session_with::<H>(h.store(), take(h, 0).await, options).await;
        for id in [b"a", b"b"] {
            let id = [&id[..], format!("{isolation:?}").as_bytes()].concat();
            idle = handle::<H>(idle, with_id(offset, &id)).await;
            offset += 1;
            let open = duplicate(begin(idle, with_id(offset, &id)).await);
            idle = commit(open).await;
            offset += 1;
        }
        idle.close().await;
    }
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (6, 6, 12));
}

pub(super) async fn groups_topics_and_case_are_told_apart<H: Harness>(h: &H) {
    let mut start = 0;
    for group in ["billing", "Billing", "bílling", "\u{1f98a}", "b'; --", "a\\", "a"] {
        for topic in ["event.order", "Event.order", "event_order"] {
            start += 10;
            let key = PartitionKey { group: group.into(), topic: topic.into(), partition: 0 };
            let hold = take_as::<H>(h.store(), &key, start, None, DEADLINE).await.expect("taken");
            assert_eq!((hold.next_offset, hold.created), (start, true), "{key}");
        }
    }
}
