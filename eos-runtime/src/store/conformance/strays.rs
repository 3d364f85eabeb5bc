//! Handlers that end the transaction, or that go on after an error: what the proof of life is for.

use super::harness::*;
use crate::store::CommitFailed;
use crate::store::dialect::Dialect;

async fn failed<D: Dialect>(open: crate::store::Open<D>) -> CommitFailed {
    match open.commit().await {
        Ok(_) => panic!("the attempt committed; it should fail"),
        Err((failed, rest)) => {
            rest.into_hold().await;
            failed
        }
    }
}

pub(super) async fn an_ignored_sql_error_ends_as_the_database_has_it<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 1).await;
    H::write(open.tx(), "insert into no_such_table (n) values (1)")
        .await
        .expect_err("there is no such table");
    if H::ERROR_ABORTS {
        let failed = failed(open).await;
        assert!(matches!(failed, CommitFailed::RolledBack(_)), "{failed:?}");
        assert_eq!((effects(h).await, inbox(h).await, position(h).await), (0, 0, 0));
    } else {
        effect::<H>(&mut open, 2).await;
        commit(open).await.close().await;
        assert_eq!((effects(h).await, inbox(h).await, position(h).await), (2, 1, 1));
    }
    // The partition goes on either way.
    let hold = take(h, 0).await;
    let next = hold.next_offset;
    handle::<H>(session(h, hold).await, with_id(next, b"b")).await.close().await;
    assert_eq!(position(h).await, next + 1);
}

pub(super) async fn a_stray_commit_is_found_out<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 1).await;
    H::past_guard(open.tx(), "commit").await.expect("it goes past the guard");
    effect::<H>(&mut open, 2).await;
    let failed = failed(open).await;
    assert!(matches!(failed, CommitFailed::Strayed(_)), "{failed:?}");
    // What the stray COMMIT published stands, and so does its claim.
    assert_eq!((inbox(h).await, position(h).await), (1, 1));
}

pub(super) async fn a_stray_rollback_is_found_out_and_nothing_moves<H: Harness>(h: &H) {
    stray_rollback(h, &["rollback"]).await;
}

pub(super) async fn a_stray_rollback_and_begin_is_found_out_and_nothing_moves<H: Harness>(h: &H) {
    stray_rollback(h, &["rollback", "begin"]).await;
}

async fn stray_rollback<H: Harness>(h: &H, statements: &[&str]) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 1).await;
    for statement in statements {
        H::past_guard(open.tx(), statement).await.expect("it goes past the guard");
    }
    effect::<H>(&mut open, 2).await;
    let failed = failed(open).await;
    if H::ROLLBACK_STRAYS {
        assert!(matches!(failed, CommitFailed::Strayed(_)), "{failed:?}");
    } else {
        assert!(matches!(failed, CommitFailed::RolledBack(_)), "{failed:?}");
        assert_eq!(effects(h).await, 0);
    }
    assert_eq!((inbox(h).await, position(h).await), (0, 0));
    handle::<H>(owner(h, 0).await, with_id(0, b"a")).await.close().await;
}

pub(super) async fn transaction_statements_are_refused_with_what_to_use<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    for sql in ["commit", "ROLLBACK", "begin", "select 1; commit"] {
        let refused = H::write(open.tx(), sql).await.expect_err("it is refused").to_string();
        assert!(refused.contains("tx.begin()"), "{refused}");
    }
    effect::<H>(&mut open, 0).await;
    commit(open).await.close().await;
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn a_savepoint_rolls_back_alone<H: Harness>(h: &H) {
    savepoint(h, SavepointEnd::RolledBack).await;
}

pub(super) async fn a_savepoint_left_open_rolls_back_alone<H: Harness>(h: &H) {
    savepoint(h, SavepointEnd::Dropped).await;
}

async fn savepoint<H: Harness>(h: &H, end: SavepointEnd) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 1).await;
    H::in_savepoint(open.tx(), end).await.expect("the savepoint works");
    effect::<H>(&mut open, 2).await;
    let idle = handle::<H>(commit(open).await, at(1)).await;
    idle.close().await;
    assert_eq!((effects(h).await, position(h).await), (3, 2));
}

pub(super) async fn a_handlers_session_settings_do_not_mislead_the_end<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, with_id(0, b"a")).await);
    effect::<H>(&mut open, 0).await;
    H::write(open.tx(), H::SETTING).await.expect("it is set");
    let next = open.commit_and_begin(with_id(1, b"a")).await.map_err(|_| ()).expect("the chain goes on");
    let idle = commit(duplicate(next)).await;
    idle.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 1, 2));
}
