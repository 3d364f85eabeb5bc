//! A commit with the next claim behind it, and what becomes of the connection after every kind of end.

use super::harness::*;
use crate::store::dialect::Dialect;
use crate::store::{ChainFailed, Claim, Claimed, CommitFailed, Open};

async fn chain<D: Dialect>(open: Open<D>, claim: Claim<'_>) -> Claimed<D> {
    match open.commit_and_begin(claim).await {
        Ok(claimed) => claimed,
        Err(ChainFailed::Commit(failed, _)) => panic!("the commit failed: {failed:?}"),
        Err(ChainFailed::Next(error, _)) => panic!("the next claim failed: {error:?}"),
    }
}

pub(super) async fn a_chain_of_attempts_commits_each<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"0")).await);
    for offset in 1..20 {
        effect::<H>(&mut open, offset).await;
        open = fresh(chain(open, with_id(offset, offset.to_string().as_bytes())).await);
        assert_eq!((effects(h).await, position(h).await), (offset, offset));
    }
    let hold = commit(open).await.close().await;
    assert_eq!((hold.next_offset, hold.last), (20, Some(record(19))));
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (19, 20, 20));
}

pub(super) async fn a_chained_commit_that_strayed_commits_nothing_more<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    H::past_guard(open.tx(), "commit").await.expect("it goes past the guard");
    match open.commit_and_begin(at(1)).await {
        Err(ChainFailed::Commit(CommitFailed::Strayed(_), rest)) => {
            assert_eq!(rest.into_hold().await.next_offset, 0, "nothing was committed by us");
        }
        Err(ChainFailed::Commit(failed, _)) => panic!("{failed:?}"),
        Err(ChainFailed::Next(error, _)) => panic!("the commit is said to stand: {error:?}"),
        Ok(_) => panic!("the chain went on"),
    }
    assert_eq!(position(h).await, 1);
}

pub(super) async fn a_deferred_constraint_fails_the_commit_and_not_the_next_claim<H: Harness>(h: &H) {
    let Some((table, row)) = H::DEFERRED else { return };
    for statement in table.split(';') {
        h.outside(statement).await;
    }
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    H::write(open.tx(), row).await.expect("it is refused later");
    let rest = match open.commit_and_begin(with_id(1, b"b")).await {
        Err(ChainFailed::Commit(CommitFailed::RolledBack(_), rest)) => rest,
        Err(ChainFailed::Commit(failed, _)) => panic!("{failed:?}"),
        Err(ChainFailed::Next(error, _)) => panic!("the commit is said to stand: {error:?}"),
        Ok(_) => panic!("the chain went on"),
    };
    assert_eq!((inbox(h).await, position(h).await), (0, 0));
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("it goes on");
    handle::<H>(idle, with_id(0, b"a")).await.close().await;
    assert_eq!((effects(h).await, position(h).await), (1, 1));
}

pub(super) async fn a_next_claim_that_fails_leaves_the_commit_standing<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    // The claim writes a position that a bigint cannot hold.
    match open
        .commit_and_begin(Claim {
            record: crate::store::LastRecord { offset: i64::MAX, ..record(0) },
            message_id: None,
        })
        .await
    {
        Err(ChainFailed::Next(_, rest)) => assert_eq!(rest.into_hold().await.next_offset, 1),
        Err(ChainFailed::Commit(failed, _)) => panic!("the commit is said to have failed: {failed:?}"),
        Ok(_) => panic!("no database counts that far"),
    }
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 1, 1));
    handle::<H>(owner(h, 0).await, with_id(1, b"b")).await.close().await;
}

pub(super) async fn a_next_claim_that_is_not_ours_leaves_the_commit_standing<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, DEADLINE).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // Either the taker comes in between, or the chain goes on once more and it comes after that.
    let (expected, rest) = match chain(open, at(1)).await {
        Claimed::NotOurs(rest) => (1, rest),
        Claimed::Fresh(open) => {
            let idle = commit(open).await;
            let taken = taking_is_done(&taking).await;
            assert!(taken);
            (2, not_ours(begin(idle, at(2)).await))
        }
        Claimed::Duplicate(_) => panic!("there was no id"),
    };
    assert_eq!(rest.into_hold().await.next_offset, expected);
    assert_eq!(taking.await.expect("no panic").next_offset, expected);
    assert_eq!((effects(h).await, position(h).await), (1, expected));
}

async fn taking_is_done<T>(task: &tokio::task::JoinHandle<T>) -> bool {
    for _ in 0..200 {
        if task.is_finished() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    false
}

pub(super) async fn a_chain_finds_duplicates<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    let open = duplicate(chain(open, with_id(1, b"a")).await);
    let open = duplicate(chain(open, with_id(2, b"a")).await);
    let mut open = fresh(chain(open, with_id(3, b"b")).await);
    effect::<H>(&mut open, 3).await;
    let open = fresh(chain(open, at(4)).await);
    commit(open).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 2, 5));
}

pub(super) async fn a_connection_given_back_is_clean<H: Harness>(h: &H) {
    let hold = handle::<H>(owner(h, 0).await, at(0)).await.close().await;
    assert_eq!(h.pooled_depth().await, 0);
    // It works on its own again, and a service's transaction on it is a plain one.
    let mut tx = crate::store::begin(&h.store().pool).await.expect("a transaction begins");
    H::write(&mut tx, "insert into effect (n) values (9)").await.expect("written");
    assert_eq!(effects(h).await, 1, "it is not committed on its own");
    tx.commit().await.expect("committed");
    assert_eq!(effects(h).await, 2);
    let mut tx = crate::store::begin(&h.store().pool).await.expect("a transaction begins");
    H::write(&mut tx, "insert into effect (n) values (10)").await.expect("written");
    drop(tx);
    // And it is a session again.
    handle::<H>(session(h, hold).await, at(1)).await.close().await;
    assert_eq!(effects(h).await, 3);
}

pub(super) async fn a_rollback_leaves_nothing_and_the_session_goes_on<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    let rest = open.rollback().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (0, 0, 0));
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("it goes on");
    handle::<H>(idle, with_id(0, b"a")).await.close().await;
    assert_eq!((effects(h).await, position(h).await), (1, 1));
}

pub(super) async fn dropping_an_attempt_rolls_it_back<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    drop(open);
    let hold = take(h, 0).await;
    assert_eq!((hold.next_offset, effects(h).await, inbox(h).await), (0, 0, 0));
}

pub(super) async fn an_attempt_that_is_abandoned_lets_go_of_its_row<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    let began = std::time::Instant::now();
    let hold = open.abandon().await;
    assert_eq!(hold.next_offset, 0);
    handle::<H>(session(h, hold).await, with_id(0, b"a")).await.close().await;
    assert!(began.elapsed() < DEADLINE / 2, "the row was free at once");
    assert_eq!((effects(h).await, position(h).await), (1, 1));
}
