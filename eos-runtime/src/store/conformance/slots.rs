//! Splitting a partition's keys into slots: all rows by one compare-and-set, and nothing lost between them.

use super::harness::*;
use crate::positions::{CopyGroup, Positions, Reset};
use crate::store::dialect::{Dialect, Store};
use crate::store::{
    DeadLetter, KeySlot, LetterDialect, PartitionKey, Reason, Standing, State, Stored, Verdict,
};

async fn take_slot<H: Harness>(h: &H, key: &PartitionKey, slot: i32) -> Option<HoldOf<H>> {
    let options = options(DEADLINE);
    let stream = H::D::stream(h.store(), &key.group, &key.topic, None, options).await.expect("a stream");
    H::D::take(h.store(), key, slot, stream, 0, None, options).await.expect("a take is answered")
}

/// Each of the partition's rows, taken.
pub(super) async fn take_all<H: Harness>(h: &H, slots: i32) -> Vec<HoldOf<H>> {
    let mut holds = Vec::new();
    for number in 0..slots {
        holds.push(take_slot(h, &key(0), number).await.expect("there is such a slot"));
    }
    holds
}

pub(super) async fn split<H: Harness>(h: &H, holds: &[HoldOf<H>], slots: i32) -> bool {
    H::D::split(h.store(), holds, slots, options(DEADLINE)).await.expect("a split is answered")
}

/// A partition of so many slots, at 0.
pub(super) async fn split_into<H: Harness>(h: &H, slots: i32) {
    assert!(split(h, &take_all(h, 1).await, slots).await);
}

async fn rows<H: Harness>(h: &H) -> i64 {
    h.number(&format!("select count(*) from {}eos_position", h.store().schema)).await
}

fn positions<H: Harness>(h: &H) -> Positions<H::D> {
    Positions::in_store(Store::new(h.store().pool.clone(), h.store().schema.clone()))
}

pub(super) async fn a_partition_is_one_slot_until_it_is_split<H: Harness>(h: &H) {
    let hold = take(h, 0).await;
    assert_eq!(hold.slot, KeySlot::WHOLE);
    assert!(take_slot(h, &key(0), 1).await.is_none());
    assert!(take_slot(h, &key(7), 1).await.is_none(), "only the first makes a partition's row");
    assert_eq!(rows(h).await, 1);
}

pub(super) async fn a_split_gives_each_slot_a_row_where_the_partition_was<H: Harness>(h: &H) {
    handle::<H>(owner(h, 0).await, at(4)).await.close().await;
    split_into(h, 4).await;
    for (number, hold) in take_all(h, 4).await.into_iter().enumerate() {
        assert_eq!(hold.slot, KeySlot { number: number as i32, of: 4 });
        assert_eq!((hold.next_offset, hold.last, hold.created), (5, Some(record(4)), false));
    }
    assert!(take_slot(h, &key(0), 4).await.is_none());
    assert_eq!(take(h, 1).await.slot, KeySlot::WHOLE, "other partitions stay as they are");
}

pub(super) async fn each_slot_moves_by_itself<H: Harness>(h: &H) {
    split_into(h, 2).await;
    let [first, second] = take_all(h, 2).await.try_into().expect("two");
    let (before, after) = (first.clone(), second.clone());
    handle::<H>(session(h, second).await, with_id(6, b"a")).await.close().await;
    let idle = handle::<H>(session(h, first).await, at(2)).await;
    commit(duplicate(begin(idle, with_id(3, b"a")).await)).await.close().await;
    assert_eq!(standing(h, &before).await, Standing::Ours { next_offset: 4 });
    assert_eq!(standing(h, &after).await, Standing::Ours { next_offset: 7 });
}

pub(super) async fn slots_that_stand_apart_go_to_the_highest<H: Harness>(h: &H) {
    split_into(h, 3).await;
    let holds = take_all(h, 3).await;
    handle::<H>(session(h, holds[1].clone()).await, at(9)).await.close().await;
    handle::<H>(session(h, holds[2].clone()).await, at(3)).await.close().await;
    let holds = take_all(h, 3).await;
    assert!(split(h, &holds, 2).await);
    assert_eq!(rows(h).await, 2);
    for hold in take_all(h, 2).await {
        assert_eq!((hold.slot.of, hold.next_offset, hold.last), (2, 10, Some(record(9))));
    }
    assert!(split(h, &take_all(h, 2).await, 1).await);
    assert_eq!((rows(h).await, take(h, 0).await.slot), (1, KeySlot::WHOLE));
}

pub(super) async fn a_split_that_was_overtaken_does_nothing<H: Harness>(h: &H) {
    split_into(h, 2).await;
    let holds = take_all(h, 2).await;
    let another = take_slot(h, &key(0), 1).await.expect("taken");
    assert!(!split(h, &holds, 3).await, "another has taken a slot");
    assert_eq!((rows(h).await, standing(h, &another).await), (2, Standing::Ours { next_offset: 0 }));

    let holds = take_all(h, 2).await;
    handle::<H>(session(h, holds[0].clone()).await, at(0)).await.close().await;
    assert!(!split(h, &holds, 3).await, "a slot has moved");
    assert_eq!((rows(h).await, take_all(h, 2).await[0].next_offset), (2, 1));
}

pub(super) async fn an_owner_of_before_a_split_is_fenced<H: Harness>(h: &H) {
    let slept = owner(h, 0).await;
    split_into(h, 2).await;
    drop(not_ours(begin(slept, at(0)).await));
    let gone = take_all(h, 2).await.pop().expect("two");
    let slept = session(h, gone.clone()).await;
    assert!(split(h, &take_all(h, 2).await, 1).await);
    assert_eq!(standing(h, &gone).await, Standing::Fenced, "its row is gone");
    drop(not_ours(begin(slept, at(0)).await));
    assert_eq!(effects(h).await, 0);
}

pub(super) async fn what_is_parked_is_tried_by_the_owner_of_its_slot<H: Harness>(h: &H) {
    split_into(h, 2).await;
    let [_, second] = take_all(h, 2).await.try_into().expect("two");
    let theirs = crate::Record::builder("event.order").at(0, 0).key("a").build();
    let mut open = fresh(begin(session(h, second.clone()).await, at(0)).await);
    let parked = DeadLetter {
        state: State::Parked,
        record: &theirs,
        message_id: None,
        listener: "tests",
        attempts: 1,
        reason: Reason::Failed,
        error: "not now",
        publish_to: None,
    };
    let id = open.set_aside(parked).await.expect("set aside");
    let hold = commit(open).await.close().await;
    let letter = Stored {
        id,
        state: State::Parked,
        key: key(0),
        record: theirs,
        message_id: None,
        listener: String::new(),
        attempts: 1,
        reason: String::new(),
        error: String::new(),
        set_aside_ms: 0,
        tries: 0,
        edited: false,
    };
    assert_eq!(H::D::parked(h.store(), &key(0)).await.expect("read")[0].offset, 0);
    assert!(H::D::begin_try(h.store(), &hold, &letter).await.expect("counted"));
    let verdict =
        Verdict { to: State::Parked, attempts: 2, reason: Reason::Failed, error: "", publish_to: None };
    let replaced = hold.clone();
    let hold = take_slot(h, &key(0), 1).await.expect("taken");
    assert!(!H::D::end_try(h.store(), &replaced, &letter, verdict).await.expect("answered"));
    assert!(H::D::end_try(h.store(), &hold, &letter, verdict).await.expect("answered"));
    let mut open = fresh(
        session(h, hold).await.begin_replay(&letter).await.map_err(|(error, _)| error).expect("claimed"),
    );
    effect::<H>(&mut open, 0).await;
    commit(open).await.close().await;
    assert!(H::D::parked(h.store(), &key(0)).await.expect("read").is_empty());
}

pub(super) async fn a_split_partition_is_listed_and_moved_as_one<H: Harness>(h: &H) {
    split_into(h, 3).await;
    let holds = take_all(h, 3).await;
    handle::<H>(session(h, holds[2].clone()).await, at(5)).await.close().await;
    handle::<H>(session(h, holds[0].clone()).await, at(2)).await.close().await;
    let listed = positions(h).list(None, None).await.expect("listed");
    assert_eq!((listed.len(), listed[0].next_offset, listed[0].slots), (1, 0, 3));

    // Copied as it stands, slot for slot, also over a partition that is split otherwise.
    let invoicing = PartitionKey { group: "invoicing".into(), ..key(0) };
    let first = take_slot(h, &invoicing, 0).await.expect("taken");
    assert!(split(h, &[first], 2).await);
    let copied = positions(h).copy(&CopyGroup::new("billing", "invoicing").replace()).await.expect("copied");
    assert_eq!(copied.topics[0].offsets[&0], 0);
    let mut stands = Vec::new();
    for number in 0..3 {
        let hold = take_slot(h, &invoicing, number).await.expect("as many slots");
        stands.push((hold.slot.of, hold.next_offset, hold.last));
    }
    assert_eq!(stands, [(3, 3, Some(record(2))), (3, 0, None), (3, 6, Some(record(5)))]);

    let done = positions(h).reset("billing", "event.order", &Reset::to([(0, 1)])).await.expect("reset");
    assert_eq!((done.partitions[0].from, done.partitions[0].to), (Some(0), 1));
    assert!(take_all(h, 3).await.iter().all(|hold| hold.next_offset == 1 && hold.last.is_none()));
}
