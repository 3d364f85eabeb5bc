//! Records that are set aside, and the attempts that are counted before.

use super::harness::*;
use crate::record::Record;
use crate::store::{
    Begun, Claimed, DeadLetter, Filter, Idle, LetterDialect, Reason, Rest, State, Stored, Verdict,
};

/// Nothing of it is text.
pub(super) const BYTES: [u8; 4] = [0xff, 0x00, 0xfe, 0x27];

pub(super) fn odd(offset: i64) -> Record {
    Record::builder("event.order").at(0, offset).key(BYTES).payload(BYTES).header("tenant", BYTES).build()
}

pub(super) fn letter<'a>(record: &'a Record, id: Option<&'a [u8]>) -> DeadLetter<'a> {
    DeadLetter {
        state: State::Dead,
        record,
        message_id: id,
        listener: "orders::on_order",
        attempts: 5,
        reason: Reason::Poison,
        error: "the handler failed for good: it's \\ no\0 order",
        publish_to: Some("event.order-dlt"),
    }
}

pub(super) async fn dead_letters<H: Harness>(h: &H, condition: &str) -> i64 {
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
    assert_eq!(h.number(&dead).await, 1, "its id is aside, not done");

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
    assert_eq!(rest.hold().begun, Begun::NOTHING);
    assert!(count(h, &mut rest, 3).await);
    assert_eq!(rest.hold().begun, Begun::Attempts(3));
    let next = take(h, 0).await;
    assert_eq!(next.begun, Begun::Attempts(3));
    let idle = handle::<H>(session(h, next).await, at(0)).await;
    let hold = idle.close().await;
    assert_eq!(hold.begun, Begun::NOTHING, "the next record has had none");
    let mut rest = Rest::Hold(take(h, 0).await);
    assert_eq!(rest.hold().begun, Begun::NOTHING);
    assert!(rest.note_begun(h.store(), options(DEADLINE), Begun::Group).await.expect("the row answers"));
    assert_eq!(take(h, 0).await.begun, Begun::Group);
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
    assert_eq!((hold.begun, effects(h).await), (Begun::Attempts(2), 0));
    handle::<H>(session(h, hold).await, at(0)).await.close().await;
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn an_owner_that_was_replaced_counts_nothing<H: Harness>(h: &H) {
    let mut zombie = Rest::Hold(take(h, 0).await);
    let newer = take(h, 0).await;
    assert!(!count(h, &mut zombie, 1).await);
    assert_eq!(zombie.hold().begun, Begun::NOTHING);
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
    rest.note_begun(h.store(), options(DEADLINE), Begun::Attempts(attempts)).await.expect("the row answers")
}

pub(super) fn in_states(states: &[State]) -> Filter {
    Filter { states: states.to_vec(), ..Filter::default() }
}

/// The one that is wanted.
async fn the_wanted<H: Harness>(h: &H) -> Stored {
    let mut wanted = H::D::letters(h.store(), &in_states(&[State::Wanted])).await.expect("a list");
    assert_eq!(wanted.len(), 1);
    wanted.remove(0)
}

/// Sets one aside and wants it again; the owner's session.
async fn one_wanted<H: Harness>(h: &H) -> (Idle<H::D>, Stored) {
    let idle = set_aside::<H>(owner(h, 0).await, 0, b"a").await;
    let turned = H::D::turn_to(h.store(), &in_states(&[State::Dead]), State::Wanted).await.expect("turned");
    assert_eq!(turned, 1);
    assert_eq!(H::D::wanted(h.store()).await.expect("a list"), [key(0)]);
    let letter = the_wanted(h).await;
    (idle, letter)
}

pub(super) async fn begin_replay<H: Harness>(idle: Idle<H::D>, letter: &Stored) -> Claimed<H::D> {
    idle.begin_replay(letter).await.map_err(|(error, _)| error).expect("the claim is answered")
}

pub(super) async fn ids_that_are<H: Harness>(h: &H, outcome: i16) -> i64 {
    h.number(&format!("select count(*) from {}eos_inbox where outcome = {outcome}", h.store().schema)).await
}

pub(super) async fn what_is_meant_is_listed_and_nothing_else<H: Harness>(h: &H) {
    let mut idle = owner(h, 0).await;
    for (offset, id) in [(0, b"a"), (1, b"b"), (2, b"c")] {
        idle = set_aside::<H>(idle, offset, id).await;
    }
    idle.close().await;
    let all = H::D::letters(h.store(), &in_states(&[State::Dead])).await.expect("a list");
    assert_eq!(all.iter().map(|letter| letter.record.offset()).collect::<Vec<_>>(), [0, 1, 2]);
    let letter = &all[0];
    assert_eq!((letter.key.clone(), letter.state), (key(0), State::Dead));
    let record = odd(0);
    assert_eq!(
        (letter.record.key(), letter.record.payload(), letter.record.header("tenant")),
        (record.key(), record.payload(), record.header("tenant"))
    );
    assert_eq!(letter.record.timestamp(), record.timestamp());
    assert_eq!((letter.message_id.as_deref(), letter.attempts), (Some(&b"a"[..]), 5));
    let dead = || in_states(&[State::Dead]);
    for (filter, count) in [
        (Filter { ids: Some(vec![all[1].id, -1]), ..dead() }, 1),
        (Filter { ids: Some(Vec::new()), ..dead() }, 0),
        (Filter { group: Some("billing".to_owned()), topic: Some("event.order".to_owned()), ..dead() }, 3),
        (Filter { group: Some("audit".to_owned()), ..dead() }, 0),
        (Filter { record_key: Some(BYTES.to_vec()), ..dead() }, 3),
        (Filter { record_key: Some(b"x".to_vec()), ..dead() }, 0),
        (Filter { reason: Some("poison".to_owned()), partition: Some(0), ..dead() }, 3),
        (Filter { reason: Some("failed".to_owned()), ..dead() }, 0),
        (Filter { since_ms: Some(letter.set_aside_ms), limit: Some(2), ..dead() }, 2),
        (Filter { since_ms: Some(letter.set_aside_ms + 3_600_000), ..dead() }, 0),
        (in_states(&[State::Wanted, State::Discarded]), 0),
        (in_states(&[]), 0),
    ] {
        let found = H::D::letters(h.store(), &filter).await.expect("a list");
        assert_eq!(found.len(), count, "{filter:?}");
    }
}

pub(super) async fn a_replay_is_done_once_with_its_id_and_moves_no_position<H: Harness>(h: &H) {
    let (idle, letter) = one_wanted(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &letter).await);
    effect::<H>(&mut open, 7).await;
    let idle = commit(open).await;
    assert_eq!((effects(h).await, position(h).await), (1, 1));
    assert_eq!((ids_that_are(h, 0).await, ids_that_are(h, 1).await), (1, 0));
    assert!(H::D::wanted(h.store()).await.expect("a list").is_empty());
    // Once more, by whoever had read it before.
    let idle = commit(duplicate(begin_replay::<H>(idle, &letter).await)).await;
    // And the partition goes on where it was.
    handle::<H>(idle, with_id(1, b"b")).await.close().await;
    assert_eq!((effects(h).await, position(h).await), (2, 2));
    let replayed = H::D::letters(h.store(), &in_states(&[State::Replayed])).await.expect("a list");
    assert_eq!(replayed.len(), 1);
}

pub(super) async fn a_replay_of_a_record_without_an_id_is_done_once<H: Harness>(h: &H) {
    let record = odd(0);
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    open.set_aside(letter(&record, None)).await.expect("it is written");
    let idle = commit(open).await;
    H::D::turn_to(h.store(), &in_states(&[State::Dead]), State::Wanted).await.expect("turned");
    let letter = the_wanted(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &letter).await);
    effect::<H>(&mut open, 7).await;
    let idle = commit(open).await;
    commit(duplicate(begin_replay::<H>(idle, &letter).await)).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 0, 1));
}

pub(super) async fn a_replay_whose_id_was_done_meanwhile_handles_nothing<H: Harness>(h: &H) {
    let (idle, letter) = one_wanted(h).await;
    h.outside(&format!("update {}eos_inbox set outcome = 0", h.store().schema)).await;
    commit(duplicate(begin_replay::<H>(idle, &letter).await)).await.close().await;
    assert_eq!(dead_letters(h, "state = 3").await, 1, "nothing is left to do");
}

pub(super) async fn a_replay_whose_id_was_forgotten_remembers_it_again<H: Harness>(h: &H) {
    let (idle, letter) = one_wanted(h).await;
    h.outside(&format!("delete from {}eos_inbox", h.store().schema)).await;
    let mut open = fresh(begin_replay::<H>(idle, &letter).await);
    effect::<H>(&mut open, 7).await;
    commit(open).await.close().await;
    assert_eq!((ids_that_are(h, 0).await, effects(h).await), (1, 1));
}

pub(super) async fn a_replay_that_fails_leaves_it_wanted_and_dead_when_it_is_said<H: Harness>(h: &H) {
    let (idle, letter) = one_wanted(h).await;
    let mut rest = Rest::Session(idle);
    assert!(H::D::begin_try(h.store(), rest.hold(), &letter).await.expect("counted"));
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("a session");
    let mut open = fresh(begin_replay::<H>(idle, &letter).await);
    effect::<H>(&mut open, 7).await;
    rest = open.rollback().await;
    assert_eq!((effects(h).await, ids_that_are(h, 1).await), (0, 1));
    let wanted = the_wanted(h).await;
    assert_eq!((wanted.tries, wanted.attempts), (1, 6));
    H::D::forget_try(h.store(), rest.hold(), &wanted).await.expect("taken back");
    let wanted = the_wanted(h).await;
    assert_eq!((wanted.tries, wanted.attempts), (0, 5));
    assert!(H::D::end_try(h.store(), rest.hold(), &wanted, DEAD).await.expect("said"));
    assert_eq!(
        dead_letters(h, "state = 0 and attempts = 6 and reason = 'failed' and error like 'again_'").await,
        1
    );
    assert!(
        !H::D::begin_try(h.store(), rest.hold(), &wanted).await.expect("answered"),
        "nobody wants it any more"
    );
    rest.into_hold().await;
}

pub(super) const DEAD: Verdict<'_> =
    Verdict { to: State::Dead, attempts: 6, reason: Reason::Failed, error: "again\0", publish_to: None };

pub(super) async fn a_replay_by_an_owner_that_was_replaced_is_fenced<H: Harness>(h: &H) {
    let (zombie, letter) = one_wanted(h).await;
    let newer = take(h, 0).await;
    not_ours(begin_replay::<H>(zombie, &letter).await).into_hold().await;
    assert_eq!((dead_letters(h, "state = 2").await, ids_that_are(h, 1).await), (1, 1));
    let mut open = fresh(begin_replay::<H>(session(h, newer).await, &letter).await);
    effect::<H>(&mut open, 7).await;
    commit(open).await.close().await;
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn a_stray_rollback_in_a_replay_is_found_out<H: Harness>(h: &H) {
    let (idle, letter) = one_wanted(h).await;
    let mut open = fresh(begin_replay::<H>(idle, &letter).await);
    effect::<H>(&mut open, 7).await;
    H::past_guard(open.tx(), "rollback").await.expect("rolled back");
    stray_rollback_is_found_out(open).await;
    assert_eq!((effects(h).await, dead_letters(h, "state = 2").await), (0, 1));
}

pub(super) async fn a_payload_that_is_changed_keeps_the_one_that_came<H: Harness>(h: &H) {
    set_aside::<H>(owner(h, 0).await, 0, b"a").await.close().await;
    let dead = in_states(&[State::Dead]);
    let the_dead = async || H::D::letters(h.store(), &dead).await.expect("a list").remove(0);
    let id = the_dead().await.id;
    for payload in [Some(&b"one"[..]), Some(b"two"), None] {
        assert!(H::D::edit(h.store(), id, payload).await.expect("changed"));
        let changed = the_dead().await;
        assert_eq!((changed.record.payload(), changed.edited), (payload, true));
    }
    assert_eq!(dead_letters(h, &format!("original_payload = {}", H::bytes(&BYTES))).await, 1);
    // Somebody may handle it by now.
    H::D::turn_to(h.store(), &dead, State::Wanted).await.expect("turned");
    assert!(!H::D::edit(h.store(), id, None).await.expect("answered"), "too late");
}
