//! Many records in one transaction: the same claim, for all of them at once.

use std::time::Duration;

use super::harness::*;
use crate::listener::spec::Isolation;
use crate::store::{ClaimedGroup, GroupClaim, Idle, Open, Rest, Standing, StoreOptions};

fn up_to<'a>(last: i64, ids: &'a [&'a [u8]]) -> GroupClaim<'a> {
    GroupClaim { last: record(last), ids }
}

async fn begin_group<H: Harness>(idle: Idle<H::D>, claim: GroupClaim<'_>) -> ClaimedGroup<H::D> {
    idle.begin_group(claim).await.map_err(|(error, _)| error).expect("the claim is answered")
}

fn open<H: Harness>(claimed: ClaimedGroup<H::D>) -> (Open<H::D>, Vec<Vec<u8>>) {
    match claimed {
        ClaimedGroup::Open(open, mut seen) => {
            seen.sort();
            (open, seen)
        }
        ClaimedGroup::NotOurs(_) => panic!("the claim found no row of ours"),
    }
}

fn not_ours_group<H: Harness>(claimed: ClaimedGroup<H::D>) -> Rest<H::D> {
    match claimed {
        ClaimedGroup::NotOurs(rest) => rest,
        ClaimedGroup::Open(..) => panic!("the row should not be ours"),
    }
}

pub(super) async fn a_group_moves_the_position_once_and_fills_the_inbox<H: Harness>(h: &H) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut ids: Vec<&[u8]> = every_byte.chunks(64).chain([&b"a"[..], b"b", b"'", b"\\"]).collect();
    ids.sort_unstable();
    let (mut group, seen) = open::<H>(begin_group::<H>(owner(h, 0).await, up_to(9, &ids)).await);
    assert!(seen.is_empty());
    for n in 0..8 {
        effect::<H>(&mut group, n).await;
    }
    let idle = commit(group).await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (8, 8, 10));
    // And it goes on as ever, with one or with many.
    let idle = handle::<H>(idle, with_id(10, b"c")).await;
    let (group, seen) = open::<H>(begin_group::<H>(idle, up_to(20, &[b"d", b"e"])).await);
    assert!(seen.is_empty());
    let hold = commit(group).await.close().await;
    assert_eq!((hold.next_offset, hold.last), (21, Some(record(20))));
    assert_eq!(take(h, 0).await.last, Some(record(20)));
}

pub(super) async fn a_group_says_which_ids_were_seen_before<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, with_id(0, b"b")).await;
    let idle = handle::<H>(idle, with_id(1, b"\xff\x00")).await;
    let ids: [&[u8]; 4] = [b"a", b"b", b"c", b"\xff\x00"];
    let (group, seen) = open::<H>(begin_group::<H>(idle, up_to(5, &ids)).await);
    assert_eq!(seen, [b"b".to_vec(), b"\xff\x00".to_vec()]);
    let idle = commit(group).await;
    let (group, seen) = open::<H>(begin_group::<H>(idle, up_to(9, &ids)).await);
    assert_eq!(seen.len(), 4);
    commit(group).await.close().await;
    assert_eq!((inbox(h).await, position(h).await), (4, 10));
}

pub(super) async fn a_group_of_nothing_but_records_without_ids_moves_the_position<H: Harness>(h: &H) {
    let (mut group, seen) = open::<H>(begin_group::<H>(owner(h, 0).await, up_to(4, &[])).await);
    assert!(seen.is_empty());
    effect::<H>(&mut group, 1).await;
    commit(group).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 0, 5));
}

pub(super) async fn a_group_that_is_rolled_back_leaves_nothing<H: Harness>(h: &H) {
    let (mut group, _) = open::<H>(begin_group::<H>(owner(h, 0).await, up_to(4, &[b"a", b"b"])).await);
    effect::<H>(&mut group, 1).await;
    let rest = group.rollback().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (0, 0, 0));
    // Its records go one by one.
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("a session");
    let idle = handle::<H>(idle, with_id(0, b"a")).await;
    handle::<H>(idle, with_id(1, b"b")).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 2, 2));
}

pub(super) async fn a_group_by_an_owner_that_was_replaced_is_fenced<H: Harness>(h: &H) {
    let zombie = owner(h, 0).await;
    let newer = take(h, 0).await;
    let zombie =
        not_ours_group::<H>(begin_group::<H>(zombie, up_to(4, &[b"a", b"b"])).await).into_hold().await;
    assert_eq!(standing(h, &zombie).await, Standing::Fenced);
    assert_eq!((inbox(h).await, position(h).await), (0, 0));
    let (group, seen) = open::<H>(begin_group::<H>(session(h, newer).await, up_to(4, &[b"a", b"b"])).await);
    assert!(seen.is_empty());
    commit(group).await.close().await;
}

pub(super) async fn a_lost_tail_is_not_jumped_over_by_a_group<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    for offset in 0..5 {
        idle = handle::<H>(idle, at(offset)).await;
    }
    h.outside(&format!("update {}eos_position set next_offset = 2", h.store().schema)).await;
    not_ours_group::<H>(begin_group::<H>(idle, up_to(9, &[b"a"])).await).into_hold().await;
    assert_eq!((position(h).await, inbox(h).await), (2, 0));
}

/// It waits, or it fails and its records go one by one; but it never takes an id for its own that another commits.
pub(super) async fn an_id_in_flight_elsewhere_is_never_handled_twice_by_a_group<H: Harness>(h: &H) {
    let (one, two) = (owner(h, 0).await, owner(h, 1).await);
    let mut first = fresh(begin(one, with_id(0, b"b")).await);
    effect::<H>(&mut first, 0).await;
    let second =
        tokio::spawn(async move { two.begin_group(up_to(4, &[b"a", b"b", b"c"])).await.map_err(drop) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished(), "it waits for what becomes of the first");
    commit(first).await.close().await;
    match second.await.expect("no panic") {
        Ok(claimed) => {
            let (group, seen) = open::<H>(claimed);
            assert_eq!(seen, [b"b".to_vec()]);
            commit(group).await.close().await;
        }
        Err(()) => {
            assert_eq!(inbox(h).await, 1, "nothing of it stands");
        }
    }
}

pub(super) async fn a_stray_rollback_in_a_group_is_found_out<H: Harness>(h: &H) {
    let (mut group, _) = open::<H>(begin_group::<H>(owner(h, 0).await, up_to(4, &[b"a", b"b"])).await);
    effect::<H>(&mut group, 1).await;
    H::past_guard(group.tx(), "rollback").await.expect("rolled back");
    stray_rollback_is_found_out(group).await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (0, 0, 0));
}

pub(super) async fn a_group_at_every_isolation_level_commits<H: Harness>(h: &H) {
    let mut last = 0;
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        let hold = take(h, 0).await;
        let idle = session_with::<H>(h.store(), hold, StoreOptions { isolation, deadline: DEADLINE }).await;
        let id = [last as u8];
        let (mut group, seen) = open::<H>(begin_group::<H>(idle, up_to(last + 3, &[&id, b"x"])).await);
        assert_eq!(seen.len(), usize::from(last > 0));
        effect::<H>(&mut group, last).await;
        commit(group).await.close().await;
        last += 4;
    }
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (3, 4, 12));
}
