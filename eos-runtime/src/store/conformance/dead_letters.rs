//! Records that are set aside, and the attempts that are counted before.

use super::harness::*;
use crate::record::Record;
use crate::store::{DeadLetter, Idle, Reason, Rest};

/// Nothing of it is text.
const BYTES: [u8; 4] = [0xff, 0x00, 0xfe, 0x27];

fn odd(offset: i64) -> Record {
    Record::builder("event.order").at(0, offset).key(BYTES).payload(BYTES).header("tenant", BYTES).build()
}

fn letter<'a>(record: &'a Record, id: Option<&'a [u8]>) -> DeadLetter<'a> {
    DeadLetter {
        record,
        message_id: id,
        listener: "orders::on_order",
        attempts: 5,
        reason: Reason::Poison,
        error: "the handler failed for good: it's \\ no\0 order",
    }
}

async fn dead_letters<H: Harness>(h: &H, condition: &str) -> i64 {
    h.number(&format!("select count(*) from {}eos_dead_letter where {condition}", h.store().schema)).await
}

pub(super) async fn a_record_set_aside_is_kept_byte_for_byte_and_its_position_moves<H: Harness>(h: &H) {
    let record = odd(0);
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    open.set_aside(letter(&record, Some(b"a"))).await.expect("it is written");
    commit(open).await.close().await;
    assert_eq!((inbox(h).await, position(h).await, effects(h).await), (1, 1, 0));
    let schema = &h.store().schema;
    let dead = format!("select count(*) from {schema}eos_inbox where outcome = 1");
    assert_eq!(h.number(&dead).await, 1, "its id is dead, not done");

    let key = H::KEY_COLUMN;
    let bytes = H::bytes(&BYTES);
    let as_it_was = format!(
        "state = 0 and group_id = 'billing' and topic = 'event.order' and record_offset = 0 and {key} = {bytes} \
         and payload = {bytes} and headers = '[[\"tenant\",{{\"base64\":\"/wD+Jw==\"}}]]' and message_id = {} \
         and listener = 'orders::on_order' and attempts = 5 and reason = 'poison' \
         and error like 'the handler failed for good: it''s %no% order'",
        H::bytes(b"a")
    );
    assert_eq!(dead_letters(h, &as_it_was).await, 1);
}

pub(super) async fn an_id_that_is_dead_is_a_duplicate_from_then_on<H: Harness>(h: &H) {
    let idle = set_aside::<H>(owner(h, 0).await, 0, b"a").await;
    let idle = commit(duplicate(begin(idle, with_id(1, b"a")).await)).await;
    idle.close().await;
    assert_eq!((dead_letters(h, "1 = 1").await, position(h).await), (1, 2));
}

async fn set_aside<H: Harness>(idle: Idle<H::D>, offset: i64, id: &[u8]) -> Idle<H::D> {
    let record = odd(offset);
    let mut open = fresh(begin(idle, with_id(offset, id)).await);
    open.set_aside(letter(&record, Some(id))).await.expect("it is written");
    commit(open).await
}

pub(super) async fn a_record_that_is_not_set_aside_in_the_end_leaves_nothing<H: Harness>(h: &H) {
    let record = odd(0);
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    open.set_aside(letter(&record, Some(b"a"))).await.expect("it is written");
    open.rollback().await.into_hold().await;
    assert_eq!((dead_letters(h, "1 = 1").await, inbox(h).await, position(h).await), (0, 0, 0));
}

pub(super) async fn attempts_are_remembered_by_the_next_owner_until_the_record_is_done<H: Harness>(h: &H) {
    let mut rest = Rest::Hold(take(h, 0).await);
    assert_eq!(rest.hold().attempts, 0);
    assert!(count(h, &mut rest, 3).await);
    assert_eq!(rest.hold().attempts, 3);
    let next = take(h, 0).await;
    assert_eq!(next.attempts, 3);
    let idle = handle::<H>(session(h, next).await, at(0)).await;
    let hold = idle.close().await;
    assert_eq!(hold.attempts, 0, "the next record has had none");
    assert_eq!(take(h, 0).await.attempts, 0);
}

pub(super) async fn an_attempt_that_fails_leaves_what_was_counted<H: Harness>(h: &H) {
    let mut rest = Rest::Hold(take(h, 0).await);
    assert!(count(h, &mut rest, 1).await);
    // Its claim is behind the count: where the row lies now is known.
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("a session");
    let mut open = fresh(begin(idle, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let mut rest = open.rollback().await;
    assert!(count(h, &mut rest, 2).await);
    let hold = rest.into_hold().await;
    assert_eq!((hold.attempts, effects(h).await), (2, 0));
    handle::<H>(session(h, hold).await, at(0)).await.close().await;
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn an_owner_that_was_replaced_counts_nothing<H: Harness>(h: &H) {
    let mut zombie = Rest::Hold(take(h, 0).await);
    let newer = take(h, 0).await;
    assert!(!count(h, &mut zombie, 1).await);
    assert_eq!(zombie.hold().attempts, 0);
    handle::<H>(session(h, newer).await, at(0)).await.close().await;
}

pub(super) async fn an_owner_whose_position_went_back_counts_nothing<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    for offset in 0..3 {
        idle = handle::<H>(idle, at(offset)).await;
    }
    h.outside(&format!("update {}eos_position set next_offset = 1", h.store().schema)).await;
    let mut rest = Rest::Session(idle);
    assert!(!count(h, &mut rest, 1).await);
    rest.into_hold().await;
}

async fn count<H: Harness>(h: &H, rest: &mut Rest<H::D>, attempts: u32) -> bool {
    rest.count_attempts(h.store(), options(DEADLINE), attempts).await.expect("the row answers")
}
