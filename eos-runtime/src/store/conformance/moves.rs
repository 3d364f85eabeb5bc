//! Positions moved by hand: what a reset and a copy leave behind, and whom they fence.

use std::time::Duration;

use super::harness::*;
use crate::positions::{CopyGroup, MoveError, Positions, Reset};
use crate::store::dialect::{Dialect, Store};
use crate::store::{Begun, Claimed, MoveDialect, Moved, PartitionKey, Standing};

fn positions<H: Harness>(h: &H) -> Positions<H::D> {
    Positions::in_store(Store::new(h.store().pool.clone(), h.store().schema.clone()))
}

async fn reset<H: Harness>(h: &H, reset: &Reset) -> crate::positions::ResetDone {
    positions(h).reset("billing", "event.order", reset).await.expect("it is reset")
}

async fn rows<H: Harness>(h: &H, table: &str, condition: &str) -> i64 {
    h.number(&format!("select count(*) from {}{table} where {condition}", h.store().schema)).await
}

pub(super) async fn a_reset_sets_the_position_and_forgets_what_was_known_of_the_log<H: Harness>(h: &H) {
    let hold = take_as::<H>(h.store(), &key(0), 0, Some("old"), DEADLINE).await.expect("taken");
    handle::<H>(session(h, hold).await, at(41)).await.close().await;
    let hold = take(h, 0).await;
    H::D::note_begun(h.store(), &hold, Begun::Attempts(3), options(DEADLINE)).await.expect("counted");
    take(h, 1).await;

    let done = reset(h, &Reset::to([(0, 7)]).cluster("new")).await;
    let partition = done.partitions[0];
    assert_eq!((partition.partition, partition.from, partition.to, done.forgotten), (0, Some(42), 7, 0));
    let hold = take_as::<H>(h.store(), &key(0), 99, Some("elsewhere"), DEADLINE).await.expect("taken");
    assert_eq!((hold.next_offset, hold.last, hold.begun), (7, None, Begun::NOTHING));
    assert_eq!((hold.cluster.as_deref(), hold.epoch), (Some("new"), 4));
    handle::<H>(session(h, hold).await, at(7)).await.close().await;
    assert_eq!(take(h, 1).await.epoch, 2, "the other partition was left alone");

    // Where no cluster is said, the next taker's counts.
    reset(h, &Reset::to([(0, 5)])).await;
    let hold = take_as::<H>(h.store(), &key(0), 99, Some("elsewhere"), DEADLINE).await.expect("taken");
    assert_eq!((hold.next_offset, hold.cluster.as_deref()), (5, Some("elsewhere")));
}

pub(super) async fn a_reset_of_a_group_that_never_ran_makes_its_rows<H: Harness>(h: &H) {
    let done = reset(h, &Reset::to([(1, 11), (0, 10)]).forget_inbox()).await;
    let from: Vec<_> = done.partitions.iter().map(|done| (done.partition, done.from, done.to)).collect();
    assert_eq!(from, [(0, None, 10), (1, None, 11)]);
    assert_eq!((take(h, 0).await.next_offset, take(h, 1).await.next_offset), (10, 11));
    let stream = H::D::stream(h.store(), "billing", "event.order", Some(3), options(DEADLINE)).await;
    assert_eq!(stream.expect("answered").id, take(h, 0).await.stream, "the first owner makes the stream");
}

pub(super) async fn an_owner_that_slept_through_a_reset_is_fenced<H: Harness>(h: &H) {
    // To where it is: the position alone would not tell it.
    let zombie = handle::<H>(owner(h, 0).await, at(0)).await;
    reset(h, &Reset::to([(0, 1)])).await;
    let hold = not_ours(begin(zombie, at(1)).await).into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Fenced);
    assert_eq!((effects(h).await, position(h).await), (1, 1));
}

pub(super) async fn a_reset_waits_for_the_attempt_in_flight<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let other = h.another_store();
    let (pool, schema) = (other.pool.clone(), other.schema.clone());
    let resetting = tokio::spawn(async move {
        let positions = Positions::in_store(Store::new(pool, schema));
        positions.reset("billing", "event.order", &Reset::to([(0, 9)])).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!resetting.is_finished());
    let idle = commit(open).await;
    let done = resetting.await.expect("no panic").expect("it is reset");
    assert_eq!(done.partitions[0].from, Some(1));
    assert_eq!((position(h).await, effects(h).await), (9, 1));
    not_ours(begin(idle, at(1)).await).into_hold().await;
}

pub(super) async fn a_row_that_was_taken_meanwhile_is_not_set_down<H: Harness>(h: &H) {
    let (first, second) = (take(h, 0).await, take(h, 1).await);
    take(h, 0).await;
    let down = |token| Moved { token, next_offset: 9, last: None, begun: Begun::NOTHING, cluster: None };
    let set = H::D::set_down(h.store(), &[down(first.token), down(second.token)]).await;
    assert_eq!(set.expect("answered"), 1);
    assert_eq!((take(h, 0).await.next_offset, take(h, 1).await.next_offset), (0, 9));
}

pub(super) async fn a_reset_that_is_overtaken_says_so_and_moves_nothing<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    for offset in 0..3 {
        idle = handle::<H>(idle, with_id(offset, &[u8::try_from(offset).expect("small")])).await;
    }
    idle.close().await;
    let other = h.another_store();
    let (pool, schema) = (other.pool.clone(), other.schema.clone());
    // The group's process is there again as soon as the reset has taken its row.
    let epoch = take(h, 0).await.epoch;
    let resetting = tokio::spawn(async move {
        let positions = Positions::in_store(Store::new(pool, schema));
        let many = (0..40).map(|partition| (partition, 0));
        positions.reset("billing", "event.order", &Reset::to(many).forget_inbox()).await
    });
    let taken = format!("epoch > {epoch} and partition_of = 0");
    let condition = taken.replace("partition_of", &partition_column::<H>());
    while rows(h, "eos_position", &condition).await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let owner = take(h, 0).await;
    match resetting.await.expect("no panic") {
        Err(MoveError::Taken { partition: 0, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((owner.next_offset, inbox(h).await), (3, 3));
    handle::<H>(session(h, owner).await, at(3)).await.close().await;
}

/// The column, as this database wants it.
fn partition_column<H: Harness>() -> String {
    if H::KEY_COLUMN == "`key`" { "`partition`".to_owned() } else { "partition".to_owned() }
}

/// Ids `a` (done) and `b` (dead) of the group, and `a` of another.
async fn three_ids<H: Harness>(h: &H) {
    let mut idle = handle::<H>(owner(h, 0).await, with_id(0, b"a")).await;
    idle = handle::<H>(idle, with_id(1, b"b")).await;
    idle.close().await;
    h.outside(&format!(
        "update {}eos_inbox set outcome = 1 where message_id = {}",
        h.store().schema,
        H::bytes(b"b")
    ))
    .await;
    let other = PartitionKey { group: "audit".into(), ..key(0) };
    let hold = take_as::<H>(h.store(), &other, 0, None, DEADLINE).await.expect("taken");
    handle::<H>(session(h, hold).await, with_id(0, b"a")).await.close().await;
}

pub(super) async fn a_reset_forgets_the_ids_that_are_done_and_only_those<H: Harness>(h: &H) {
    three_ids(h).await;
    let done = reset(h, &Reset::to([(0, 0)]).forget_inbox()).await;
    assert_eq!((done.forgotten, inbox(h).await), (1, 2));
    assert_eq!(rows(h, "eos_inbox", "outcome = 1").await, 1, "what is set aside stays so");
    // Read again: the first is handled again, the second is not set aside twice.
    let idle = handle::<H>(owner(h, 0).await, with_id(0, b"a")).await;
    commit(duplicate(begin(idle, with_id(1, b"b")).await)).await.close().await;
    assert_eq!(effects(h).await, 4);
}

pub(super) async fn a_reset_that_forgets_nothing_keeps_every_id<H: Harness>(h: &H) {
    three_ids(h).await;
    assert_eq!(reset(h, &Reset::to([(0, 0)])).await.forgotten, 0);
    assert_eq!(inbox(h).await, 3);
    let idle = commit(duplicate(begin(owner(h, 0).await, with_id(0, b"a")).await)).await;
    idle.close().await;
}

pub(super) async fn ids_are_forgotten_and_copied_in_every_stretch<H: Harness>(h: &H) {
    let stream = take(h, 0).await.stream;
    // The empty id is the first there can be.
    let ids = (0..250).map(|n: u8| vec![n]).chain([vec![], vec![0, 0]]);
    let values: Vec<_> = ids.map(|id| format!("({stream}, {}, 0)", H::bytes(&id))).collect();
    let insert = format!(
        "insert into {}eos_inbox (stream, message_id, outcome) values {}",
        h.store().schema,
        values.join(", ")
    );
    h.outside(&with_time::<H>(&insert)).await;
    let copied = positions(h).copy(&CopyGroup::new("billing", "invoicing")).await.expect("copied");
    assert_eq!((copied.topics[0].ids, inbox(h).await), (252, 504));
    let done = reset(h, &Reset::to([(0, 0)]).forget_inbox()).await;
    assert_eq!((done.forgotten, inbox(h).await), (252, 252));
    assert_eq!(rows(h, "eos_inbox", &format!("stream = {stream}")).await, 0);
}

/// MySQL's table has no default for the time.
fn with_time<H: Harness>(insert: &str) -> String {
    if H::KEY_COLUMN == "`key`" {
        return insert.replace("outcome)", "outcome, seen_at)").replace(", 0)", ", 0, 1700000000)");
    }
    insert.to_owned()
}

pub(super) async fn a_copy_goes_on_where_the_first_group_ended<H: Harness>(h: &H) {
    three_ids(h).await;
    let hold = take_as::<H>(h.store(), &key(0), 0, Some("cluster"), DEADLINE).await.expect("taken");
    H::D::note_begun(h.store(), &hold, Begun::Attempts(2), options(DEADLINE)).await.expect("counted");
    let mails = PartitionKey { topic: "event.mail".into(), ..key(4) };
    take_as::<H>(h.store(), &mails, 17, None, DEADLINE).await.expect("taken");

    let copied = positions(h).copy(&CopyGroup::new("billing", "invoicing")).await.expect("copied");
    let said: Vec<_> = copied.topics.iter().map(|topic| (topic.topic.as_str(), topic.ids)).collect();
    assert_eq!(said, [("event.mail", 0), ("event.order", 2)]);
    assert_eq!(copied.topics[1].offsets, [(0, 2)].into());
    let new = PartitionKey { group: "invoicing".into(), ..key(0) };
    let hold = take_as::<H>(h.store(), &new, 99, Some("elsewhere"), DEADLINE).await.expect("taken");
    assert_eq!((hold.next_offset, hold.last, hold.begun), (2, Some(record(1)), Begun::Attempts(2)));
    assert_eq!(hold.cluster.as_deref(), Some("cluster"));
    // What the first group did is done, and what it set aside is set aside.
    let idle = commit(duplicate(begin(session(h, hold).await, with_id(2, b"a")).await)).await;
    let idle = commit(duplicate(begin(idle, with_id(3, b"b")).await)).await;
    handle::<H>(idle, with_id(4, b"c")).await.close().await;
    assert_eq!(rows(h, "eos_inbox", "outcome = 1").await, 2);
    let mails = PartitionKey { group: "invoicing".into(), ..mails };
    assert_eq!(take_as::<H>(h.store(), &mails, 0, None, DEADLINE).await.expect("taken").next_offset, 17);
    assert_eq!(take(h, 0).await.next_offset, 2, "the first keeps its own");
    let nothing = positions(h).copy(&CopyGroup::new("nobody", "somebody")).await.expect("copied");
    assert!(nothing.topics.is_empty());
}

pub(super) async fn a_copy_over_positions_has_to_say_so<H: Harness>(h: &H) {
    take(h, 0).await;
    handle::<H>(owner(h, 0).await, at(5)).await.close().await;
    let new = PartitionKey { group: "invoicing".into(), ..key(0) };
    take_as::<H>(h.store(), &new, 3, None, DEADLINE).await.expect("taken");
    let copy = CopyGroup::new("billing", "invoicing").topic("event.order");
    match positions(h).copy(&copy).await {
        Err(MoveError::Occupied { group, topics }) => {
            assert_eq!((group.as_str(), topics), ("invoicing", vec!["event.order".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(take_as::<H>(h.store(), &new, 0, None, DEADLINE).await.expect("taken").next_offset, 3);
    positions(h).copy(&copy.replace()).await.expect("copied");
    assert_eq!(take_as::<H>(h.store(), &new, 0, None, DEADLINE).await.expect("taken").next_offset, 6);
}

pub(super) async fn a_copy_fences_who_slept_in_either_group<H: Harness>(h: &H) {
    let first = owner(h, 0).await;
    let new = PartitionKey { group: "invoicing".into(), ..key(0) };
    let second = take_as::<H>(h.store(), &new, 0, None, DEADLINE).await.expect("taken");
    let second = session(h, second).await;
    positions(h).copy(&CopyGroup::new("billing", "invoicing").replace()).await.expect("copied");
    for zombie in [first, second] {
        match begin(zombie, at(0)).await {
            Claimed::NotOurs(rest) => drop(rest.into_hold().await),
            Claimed::Fresh(_) | Claimed::Duplicate(_) => panic!("one that slept is fenced"),
        }
    }
    assert_eq!(effects(h).await, 0);
}
