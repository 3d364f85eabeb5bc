//! Ids that are claimed for a handler without a transaction: who has one, for how long, and that what is done is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::harness::*;
use crate::dedupe::{Answer, Claim, Claims, Marked};
use crate::store::dialect::Store;
use crate::store::{ClaimDialect, ClaimTable};

/// Longer than any test.
pub(super) const LEASE: Duration = Duration::from_secs(600);

/// A process of the harness's group and topic; each has tokens of its own.
pub(super) fn process<D: ClaimDialect>(store: &Arc<Store<D>>) -> Claims {
    process_of(store, "billing")
}

fn process_of<D: ClaimDialect>(store: &Arc<Store<D>>, group: &str) -> Claims {
    let table = ClaimTable::new(store, &group.into(), "orders", "`[databases.orders] url`");
    Claims::new(Box::new(table), LEASE)
}

pub(super) fn of(claims: &Claims, id: &[u8]) -> Claim {
    claims.of(&"event.order".into(), id)
}

pub(super) async fn claim(claims: &Claims, claim: &mut Claim) -> Answer {
    claims.claim(claim).await.expect("it answers")
}

/// A claim that is made and ours.
pub(super) async fn ours(claims: &Claims, id: &[u8]) -> Claim {
    let mut made = of(claims, id);
    assert_eq!(claim(claims, &mut made).await, Answer::Ours);
    made
}

async fn is_anothers(claims: &Claims, id: &[u8]) {
    match claim(claims, &mut of(claims, id)).await {
        Answer::Anothers(left) => assert!(left > LEASE / 2 && left <= LEASE, "{left:?} left"),
        answer @ (Answer::Ours | Answer::Done) => panic!("{answer:?}"),
    }
}

async fn is_done(claims: &Claims, id: &[u8]) {
    assert_eq!(claim(claims, &mut of(claims, id)).await, Answer::Done);
}

pub(super) async fn mark(claims: &Claims, claim: &Claim) -> Marked {
    claims.mark(claim).await.expect("it answers")
}

pub(super) async fn rows<H: Harness>(h: &H) -> i64 {
    h.number(&format!("select count(*) from {}eos_claim", h.store().schema)).await
}

/// As if it were so much later.
async fn later<H: Harness>(h: &H, by: Duration) {
    let (schema, by) = (&h.store().schema, by.as_millis());
    h.outside(&format!("update {schema}eos_claim set leased_until = leased_until - {by}")).await;
}

pub(super) async fn an_id_is_anothers_while_it_is_claimed_and_done_once_it_is_marked<H: Harness>(h: &H) {
    let (one, other) = (process(h.store()), process(&h.another_store()));
    let mut mine = ours(&one, b"a").await;
    assert_eq!(claim(&one, &mut mine).await, Answer::Ours, "whose answer was lost may ask again");
    is_anothers(&other, b"a").await;
    later(h, LEASE * 3 / 4).await;
    assert!(one.renew(&mine).await.expect("it answers"));
    is_anothers(&other, b"a").await;
    assert_eq!(mark(&one, &mine).await, Marked::Ours);
    is_done(&other, b"a").await;
    is_done(&one, b"a").await;
    assert_eq!(mark(&one, &mine).await, Marked::Done, "whose answer was lost may mark again");
    assert_eq!((inbox(h).await, rows(h).await), (1, 0));
}

pub(super) async fn a_claim_that_is_given_back_is_anybodys<H: Harness>(h: &H) {
    let (one, other) = (process(h.store()), process(h.store()));
    let mine = ours(&one, b"a").await;
    one.release(&mine).await.expect("it answers");
    let theirs = ours(&other, b"a").await;
    one.release(&mine).await.expect("it answers");
    is_anothers(&one, b"a").await;
    other.release(&theirs).await.expect("it answers");
    assert_eq!((inbox(h).await, rows(h).await), (0, 0));
}

pub(super) async fn a_claim_whose_lease_has_run_out_is_taken_over_and_its_owner_is_told<H: Harness>(h: &H) {
    let (sleeper, other) = (process(h.store()), process(h.store()));
    let slept = ours(&sleeper, b"a").await;
    later(h, LEASE + Duration::from_secs(1)).await;
    let theirs = ours(&other, b"a").await;
    assert!(!sleeper.renew(&slept).await.expect("it answers"), "it is another's");
    sleeper.release(&slept).await.expect("it answers");
    is_anothers(&sleeper, b"a").await;
    assert!(other.renew(&theirs).await.expect("it answers"));
    assert_eq!(mark(&sleeper, &slept).await, Marked::Anothers, "a finished run is a fact");
    assert!(!other.renew(&theirs).await.expect("it answers"), "what is done is nobody's to run");
    is_done(&other, b"a").await;
    assert_eq!(mark(&other, &theirs).await, Marked::Done);
    assert_eq!((inbox(h).await, rows(h).await), (1, 0));
}

pub(super) async fn a_claim_whose_lease_has_run_out_is_its_owners_until_somebody_takes_it<H: Harness>(h: &H) {
    let (sleeper, other) = (process(h.store()), process(h.store()));
    let slept = ours(&sleeper, b"a").await;
    later(h, LEASE * 2).await;
    assert!(sleeper.renew(&slept).await.expect("it answers"));
    is_anothers(&other, b"a").await;
    later(h, LEASE * 2).await;
    assert_eq!(mark(&sleeper, &slept).await, Marked::Ours);
}

pub(super) async fn a_claim_that_was_forgotten_is_made_again_by_its_renewal<H: Harness>(h: &H) {
    let (one, other) = (process(h.store()), process(h.store()));
    let mine = ours(&one, b"a").await;
    let forget = format!("delete from {}eos_claim", h.store().schema);
    h.outside(&forget).await;
    assert!(one.renew(&mine).await.expect("it answers"));
    is_anothers(&other, b"a").await;
    h.outside(&forget).await;
    assert_eq!(mark(&one, &mine).await, Marked::Forgotten);
    is_done(&other, b"a").await;
}

pub(super) async fn an_id_is_known_within_its_group_and_topic<H: Harness>(h: &H) {
    let (billing, audit) = (process(h.store()), process_of(h.store(), "audit"));
    let mine = ours(&billing, b"a").await;
    ours(&audit, b"a").await;
    let mut elsewhere = billing.of(&"event.refund".into(), b"a");
    assert_eq!(claim(&billing, &mut elsewhere).await, Answer::Ours);
    mark(&billing, &mine).await;
    is_anothers(&audit, b"a").await;
    assert_eq!(mark(&billing, &elsewhere).await, Marked::Ours);
}

pub(super) async fn claimed_ids_of_any_bytes_are_told_apart<H: Harness>(h: &H) {
    let claims = process(h.store());
    let ids: [&[u8]; 9] = [b"a", b"A", b"a ", b"\0", b"'", b"\\", b"\\'; --", &[0xff; 64], &[0xfe; 64]];
    for id in ids {
        let mine = ours(&claims, id).await;
        assert_eq!(mark(&claims, &mine).await, Marked::Ours, "{id:?}");
        is_done(&claims, id).await;
    }
    assert_eq!(inbox(h).await, ids.len() as i64);
}

/// So that a listener may become transactional, or cease to be.
pub(super) async fn what_is_done_is_done_for_a_transactional_listener_too<H: Harness>(h: &H) {
    let claims = process(h.store());
    let idle = handle::<H>(owner(h, 0).await, with_id(0, b"by a transaction")).await;
    is_done(&claims, b"by a transaction").await;
    let mine = ours(&claims, b"by a claim").await;
    mark(&claims, &mine).await;
    let open = duplicate(begin(idle, with_id(1, b"by a claim")).await);
    commit(open).await.close().await;
}

pub(super) async fn of_many_who_claim_at_the_same_time_one_has_it<H: Harness>(h: &H) {
    let stores = [Arc::clone(h.store()), h.another_store()];
    for round in 0..20 {
        let claimers: Vec<_> = (0..6)
            .map(|n| {
                let claims = process(&stores[n % 2]);
                tokio::spawn(async move {
                    let mut mine = of(&claims, format!("id-{round}").as_bytes());
                    claim(&claims, &mut mine).await
                })
            })
            .collect();
        let mut have = 0;
        for claimer in claimers {
            have += usize::from(claimer.await.expect("no panic") == Answer::Ours);
        }
        assert_eq!(have, 1, "in round {round}");
    }
}

/// Each of them runs an id when it has it, and asks again until it is done.
pub(super) async fn however_claims_and_marks_meet_each_id_is_run_once<H: Harness>(h: &H) {
    const IDS: usize = 40;
    let stores = [Arc::clone(h.store()), h.another_store()];
    let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..IDS).map(|_| AtomicUsize::new(0)).collect());
    let processes: Vec<_> = (0..4)
        .map(|n| {
            let (claims, runs) = (process(&stores[n % 2]), Arc::clone(&runs));
            tokio::spawn(async move {
                for (id, ran) in runs.iter().enumerate() {
                    let mut mine = of(&claims, format!("id-{id}").as_bytes());
                    loop {
                        match claim(&claims, &mut mine).await {
                            Answer::Done => break,
                            Answer::Anothers(_) => tokio::task::yield_now().await,
                            Answer::Ours => {
                                ran.fetch_add(1, Ordering::SeqCst);
                                assert_eq!(mark(&claims, &mine).await, Marked::Ours);
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for process in processes {
        process.await.expect("no panic");
    }
    let not_once: Vec<_> = runs
        .iter()
        .map(|runs| runs.load(Ordering::SeqCst))
        .enumerate()
        .filter(|(_, runs)| *runs != 1)
        .collect();
    assert!(not_once.is_empty(), "{not_once:?}");
    assert_eq!((inbox(h).await, rows(h).await), (IDS as i64, 0));
}

pub(super) async fn claims_that_nobody_came_back_for_are_swept<H: Harness>(h: &H) {
    let claims = process(h.store());
    ours(&claims, b"its process died").await;
    later(h, LEASE + Duration::from_secs(3700)).await;
    ours(&claims, b"its process may sleep").await;
    later(h, LEASE + Duration::from_secs(3500)).await;
    ours(&claims, b"it runs").await;
    assert_eq!(H::D::sweep_claims(h.store()).await.expect("swept"), 1);
    assert_eq!(rows(h).await, 2);
    assert_eq!(H::D::sweep_claims(h.store()).await.expect("swept"), 0);
}
