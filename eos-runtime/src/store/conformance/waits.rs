//! A claim, of a position or of an id, that has to wait for somebody else's change of its row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::harness::*;
use super::ids;
use super::slots::{split, split_into, take_all};
use crate::dedupe::Answer;
use crate::store::dialect::Store;
use crate::store::{Rest, Standing};

/// Claims the second record while the change is in flight, which is then committed.
async fn claim_behind<H: Server>(h: &H, change: &str) -> Rest<H::D> {
    let idle = handle::<H>(owner(h, 0).await, at(6)).await;
    let update = format!("update {}eos_position set {change}", h.store().schema);
    let outside = h.begin_outside(&update).await;
    let waiting = tokio::spawn(async move { begin(idle, with_id(7, b"a")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it waits");
    h.commit_outside(outside).await;
    let rest = not_ours(waiting.await.expect("no panic"));
    assert_eq!(inbox(h).await, 0);
    rest
}

/// However long somebody is at another partition's row.
pub(super) async fn a_split_waits_for_no_row_of_others<H: Server>(h: &H) {
    split_into(h, 4).await;
    take(h, 7).await;
    let partition = if H::KEY_COLUMN == "`key`" { "`partition`" } else { "partition" };
    let busy = format!(
        "update {}eos_position set attempts = 1 where group_id = 'billing' and topic = 'event.order' and {partition} = 7 and slot = 0",
        h.store().schema
    );
    let held = h.begin_outside(&busy).await;
    let began = Instant::now();
    assert!(split(h, &take_all(h, 4).await, 2).await);
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    h.commit_outside(held).await;
}

pub(super) async fn a_claim_that_waited_for_a_new_owner_is_fenced<H: Server>(h: &H) {
    let change = format!("epoch = epoch + 1, owner = {}", H::RANDOM_TOKEN);
    let hold = claim_behind(h, &change).await.into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Fenced);
    assert_eq!(position(h).await, 7);
}

pub(super) async fn a_claim_that_waited_for_a_lower_position_does_not_jump_over_it<H: Server>(h: &H) {
    let hold = claim_behind(h, "next_offset = 3").await.into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Ours { next_offset: 3 });
    assert_eq!(position(h).await, 3);
}

pub(super) async fn a_claim_that_waited_for_a_row_to_be_removed_is_fenced<H: Server>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, at(0)).await;
    let outside = h.begin_outside(&format!("delete from {}eos_position", h.store().schema)).await;
    let waiting = tokio::spawn(async move { begin(idle, at(1)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    h.commit_outside(outside).await;
    let hold = not_ours(waiting.await.expect("no panic")).into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Fenced);
}

/// The interleaving that a claim and a look in one statement would get wrong: the mark commits while the claim waits for it.
pub(super) async fn a_claim_of_an_id_that_waited_for_its_mark_finds_what_it_marked<H: Server>(h: &H) {
    a_claim_waits_for_a_mark(h, h.store()).await;
}

pub(super) async fn a_claim_waits_for_a_mark<H: Server>(h: &H, store: &Arc<Store<H::D>>) {
    let one = ids::process(h.store());
    ids::ours(&one, b"a").await;
    let schema = &h.store().schema;
    let stream = format!("(select max(id) from {schema}eos_stream)");
    let id = H::bytes(b"a");
    let seen_at = if H::ESCAPES { "unix_timestamp()" } else { "now()" };
    let marking = h
        .begin_outside(&format!(
            "insert into {schema}eos_inbox (stream, message_id, seen_at) values ({stream}, {id}, {seen_at}); \
             delete from {schema}eos_claim where message_id = {id}"
        ))
        .await;
    let other = ids::process(store);
    let asking = tokio::spawn(async move { other.claim(&mut ids::of(&other, b"a")).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!asking.is_finished(), "it waits");
    h.commit_outside(marking).await;
    assert_eq!(asking.await.expect("no panic").expect("it answers"), Answer::Done);
    assert_eq!(ids::rows(h).await, 0, "what it wrote meanwhile is gone");
}
