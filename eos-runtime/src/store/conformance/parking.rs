//! Records that are parked, and the attempts at them.

use super::dead_letters::{BYTES, DEAD, begin_replay, dead_letters, ids_that_are, in_states, letter, odd};
use super::harness::*;
use crate::record::Record;
use crate::store::{
    CommitFailed, DeadLetter, Hold, Idle, LetterDialect, ParkedRow, Reason, Rest, State, Stored, Verdict,
};

/// Parks a record; its row's number.
async fn park<H: Harness>(idle: Idle<H::D>, record: &Record, id: &[u8], attempts: u32) -> (Idle<H::D>, i64) {
    let mut open = fresh(begin(idle, with_id(record.offset(), id)).await);
    let parked = DeadLetter {
        state: State::Parked,
        attempts,
        reason: Reason::Behind,
        publish_to: None,
        ..letter(record, Some(id))
    };
    let row = open.set_aside(parked).await.expect("it is written");
    (commit(open).await, row)
}

async fn parked<H: Harness>(h: &H) -> Vec<ParkedRow> {
    H::D::parked(h.store(), &key(0)).await.expect("a list")
}

/// The oldest that is parked, as it is read when its turn has come.
async fn the_head<H: Harness>(h: &H) -> Stored {
    H::D::letters(h.store(), &in_states(&[State::Parked, State::Urged])).await.expect("a list").remove(0)
}

/// One parked, with its owner's session.
async fn one_parked<H: Harness>(h: &H) -> (Idle<H::D>, Stored) {
    let (idle, _) = park::<H>(owner(h, 0).await, &odd(0), b"a", 1).await;
    let head = the_head(h).await;
    (idle, head)
}

pub(super) async fn what_is_parked_is_read_in_its_order_with_its_keys<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    let keyless = Record::builder("event.order").at(0, 2).payload("{}").build();
    let mut rows = Vec::new();
    for (record, id, attempts) in [(odd(0), b"a", 1), (odd(1), b"b", 0), (keyless, b"c", 3)] {
        let row;
        (idle, row) = park::<H>(idle, &record, id, attempts).await;
        rows.push(row);
    }
    idle.close().await;
    assert_eq!((position(h).await, inbox(h).await, ids_that_are(h, 1).await), (3, 3, 3));
    let found = parked(h).await;
    let short: Vec<_> = found.iter().map(|row| (row.id, row.key.as_deref(), row.attempts)).collect();
    let bytes = Some(&BYTES[..]);
    assert_eq!(short, [(rows[0], bytes, 1), (rows[1], bytes, 0), (rows[2], None, 3)]);
    assert!(found.iter().all(|row| (0..60_000).contains(&row.rested_ms)), "{found:?}");
    assert!(H::D::parked(h.store(), &key(1)).await.expect("a list").is_empty(), "of another partition");
}

pub(super) async fn an_id_that_is_parked_is_a_duplicate_from_then_on<H: Harness>(h: &H) {
    let (idle, _) = one_parked(h).await;
    commit(duplicate(begin(idle, with_id(1, b"a")).await)).await.close().await;
    assert_eq!((parked(h).await.len(), position(h).await), (1, 2));
}

pub(super) async fn a_parked_record_that_is_handled_is_gone_with_its_effects<H: Harness>(h: &H) {
    let (idle, head) = one_parked(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &head).await);
    effect::<H>(&mut open, 7).await;
    let idle = commit(open).await;
    assert_eq!((effects(h).await, position(h).await, dead_letters(h, "1 = 1").await), (1, 1, 0));
    assert_eq!((ids_that_are(h, 0).await, ids_that_are(h, 1).await), (1, 0));
    // Once more, by whoever had read it before; and the partition goes on where it was.
    let idle = commit(duplicate(begin_replay::<H>(idle, &head).await)).await;
    handle::<H>(idle, with_id(1, b"b")).await.close().await;
    assert_eq!((effects(h).await, position(h).await), (2, 2));
}

pub(super) async fn a_parked_record_that_fails_stays_with_what_is_said_of_it<H: Harness>(h: &H) {
    let (idle, head) = one_parked(h).await;
    let rest = Rest::Session(idle);
    assert!(H::D::begin_try(h.store(), rest.hold(), &head).await.expect("counted"));
    assert_eq!(parked(h).await[0].attempts, 2);
    H::D::forget_try(h.store(), rest.hold(), &head).await.expect("taken back");
    assert_eq!(parked(h).await[0].attempts, 1);
    let failed = Verdict { to: State::Parked, attempts: 2, ..DEAD };
    assert!(H::D::end_try(h.store(), rest.hold(), &head, failed).await.expect("said"));
    let now = the_head(h).await;
    assert_eq!((now.state, now.attempts, &*now.reason), (State::Parked, 2, "failed"));
    let dead = Verdict { publish_to: Some("event.order-dlt"), ..DEAD };
    assert!(H::D::end_try(h.store(), rest.hold(), &now, dead).await.expect("said"));
    assert!(parked(h).await.is_empty());
    assert_eq!(dead_letters(h, "state = 0 and attempts = 6 and publish_to = 'event.order-dlt'").await, 1);
    assert!(!H::D::end_try(h.store(), rest.hold(), &now, failed).await.expect("answered"), "it is dead");
    rest.into_hold().await;
}

pub(super) async fn what_a_replaced_owner_says_of_a_parked_record_counts_nothing<H: Harness>(h: &H) {
    let (zombie, head) = one_parked(h).await;
    let newer: Hold<_> = take(h, 0).await;
    let zombie = Rest::Session(zombie);
    assert!(!H::D::begin_try(h.store(), zombie.hold(), &head).await.expect("answered"));
    assert!(!H::D::end_try(h.store(), zombie.hold(), &head, DEAD).await.expect("answered"));
    let zombie =
        zombie.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("a session");
    not_ours(begin_replay::<H>(zombie, &head).await).into_hold().await;
    let unchanged = "state = 1 and attempts = 1 and reason = 'behind'";
    assert_eq!((dead_letters(h, unchanged).await, ids_that_are(h, 1).await), (1, 1));
    let mut open = fresh(begin_replay::<H>(session(h, newer).await, &head).await);
    effect::<H>(&mut open, 7).await;
    commit(open).await.close().await;
    assert_eq!((effects(h).await, parked(h).await.len()), (1, 0));
}

pub(super) async fn a_stray_rollback_of_a_parked_record_is_found_out<H: Harness>(h: &H) {
    let (idle, head) = one_parked(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &head).await);
    effect::<H>(&mut open, 7).await;
    H::past_guard(open.tx(), "rollback").await.expect("rolled back");
    stray_rollback_is_found_out(open).await;
    assert_eq!((effects(h).await, parked(h).await.len()), (0, 1));
}

pub(super) async fn a_stray_commit_of_a_parked_record_stops_its_partition<H: Harness>(h: &H) {
    let (idle, head) = one_parked(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &head).await);
    H::past_guard(open.tx(), "commit").await.expect("committed");
    match open.commit().await {
        Err((CommitFailed::Strayed(_), _)) => {}
        Err((failed, _)) => panic!("{failed:?}"),
        Ok(_) => panic!("a stray COMMIT was not found out"),
    }
    assert!(parked(h).await.is_empty());
}

pub(super) async fn what_is_wanted_now_is_heard_of<H: Harness>(h: &H) {
    let (idle, _) = one_parked(h).await;
    idle.close().await;
    assert!(H::D::wanted(h.store()).await.expect("a list").is_empty());
    let parked_ones = in_states(&[State::Parked]);
    assert_eq!(H::D::turn_to(h.store(), &parked_ones, State::Urged).await.expect("turned"), 1);
    assert_eq!(H::D::wanted(h.store()).await.expect("a list"), [key(0)]);
    assert_eq!(parked(h).await.len(), 1, "it is parked still");
    let urged = the_head(h).await;
    let mut open = fresh(begin_replay::<H>(owner(h, 0).await, &urged).await);
    effect::<H>(&mut open, 7).await;
    commit(open).await.close().await;
    assert_eq!((effects(h).await, parked(h).await.len()), (1, 0));
}
