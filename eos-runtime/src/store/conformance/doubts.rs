//! A COMMIT, or a mark, whose answer was lost on the wire: taking the partition again says what it was, or marking again.

use std::time::{Duration, Instant};

use super::harness::*;
use super::ids;
use super::proxy::Loses;
use crate::dedupe::{Down, Marked};
use crate::store::{ChainFailed, CommitFailed, Open, Rest};

pub(super) async fn a_commit_whose_answer_was_lost_stands<H: Server>(h: &H) {
    in_doubt(h, Loses::Answers, Chained::No).await;
}

pub(super) async fn a_commit_that_never_arrived_does_not<H: Server>(h: &H) {
    in_doubt(h, Loses::Messages, Chained::No).await;
}

pub(super) async fn a_chained_commit_whose_answer_was_lost_stands<H: Server>(h: &H) {
    in_doubt(h, Loses::Answers, Chained::Yes).await;
}

pub(super) async fn a_chained_commit_that_never_arrived_does_not<H: Server>(h: &H) {
    in_doubt(h, Loses::Messages, Chained::Yes).await;
}

#[derive(PartialEq, Eq)]
enum Chained {
    Yes,
    No,
}

async fn in_doubt<H: Server>(h: &H, loses: Loses, chained: Chained) {
    let (proxy, store) = h.proxied().await;
    let hold = take_within::<H>(&store, 0, DEADLINE).await;
    let mut open =
        fresh(begin(session_with::<H>(&store, hold, options(DEADLINE)).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    proxy.now(loses);
    let (failed, rest) = match chained {
        Chained::No => plain(open).await,
        Chained::Yes => in_a_chain::<H>(open).await,
    };
    assert!(matches!(failed, CommitFailed::InDoubt(_)), "{failed:?}");
    assert_eq!(rest.into_hold().await.next_offset, 0, "nothing is known to be committed");

    let stands = i64::from(loses == Loses::Answers);
    let began = Instant::now();
    let truth = take(h, 0).await;
    assert!(began.elapsed() < Duration::from_secs(5), "the server noticed that the connection broke");
    assert_eq!(truth.next_offset, stands);
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (stands, stands, stands));
    let idle = handle::<H>(session(h, truth).await, with_id(stands, b"b")).await;
    idle.close().await;
}

async fn plain<D: crate::store::Dialect>(open: Open<D>) -> (CommitFailed, Rest<D>) {
    match open.commit().await {
        Ok(_) => panic!("the answer was lost"),
        Err(failed) => failed,
    }
}

async fn in_a_chain<H: Server>(open: Open<H::D>) -> (CommitFailed, Rest<H::D>) {
    match open.commit_and_begin(with_id(1, b"next")).await {
        Err(ChainFailed::Commit(failed, rest)) => (failed, rest),
        Err(ChainFailed::Next(error, _)) => panic!("the commit is said to stand: {error:?}"),
        Ok(_) => panic!("the answer was lost"),
    }
}

pub(super) async fn a_mark_whose_answer_was_lost_stands_and_one_that_was_lost_does_not<H: Server>(h: &H) {
    for (loses, id, found) in [(Loses::Answers, b"a", Marked::Done), (Loses::Messages, b"b", Marked::Ours)] {
        let (proxy, store) = h.proxied().await;
        let claims = ids::process(&store);
        let mine = ids::ours(&claims, id).await;
        proxy.now(loses);
        let down = claims.mark(&mine).await.expect_err("nothing came back");
        assert!(matches!(&down, Down::Away { .. }), "{down:?}");
        assert!(
            down.to_string().contains("the database `orders` cannot be used (see `[databases.orders] url`)")
        );
        proxy.now(Loses::Nothing);
        assert_eq!(ids::mark(&claims, &mine).await, found, "on another connection");
        assert_eq!(ids::rows(h).await, 0);
    }
}
