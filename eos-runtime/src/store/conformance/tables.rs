//! The tables: made once by many, checked, and swept.

use std::time::Duration;

use super::harness::*;
use crate::store::dialect::{Dialect, SweepCursor};
use crate::store::migrate::MigrateError;
use crate::store::{KeySlot, MigrateMode};

pub(super) async fn making_the_tables_twice_changes_nothing<H: Harness>(h: &H) {
    handle::<H>(owner(h, 0).await, with_id(0, b"a")).await.close().await;
    H::D::migrate(h.store(), MigrateMode::Auto).await.expect("made again");
    H::D::migrate(h.store(), MigrateMode::Check).await.expect("all there");
    assert_eq!((inbox(h).await, position(h).await), (1, 1));
}

pub(super) async fn checking_says_what_is_missing<H: Harness>(_: &H) {
    let h = H::empty().await;
    match H::D::migrate(h.store(), MigrateMode::Check).await {
        Err(MigrateError::Behind { found: 0, needed }) => assert!(needed > 0),
        other => panic!("{other:?}"),
    }
    H::D::migrate(h.store(), MigrateMode::Auto).await.expect("made");
    H::D::migrate(h.store(), MigrateMode::Check).await.expect("all there");
    h.remove().await;
}

pub(super) async fn many_processes_may_make_the_tables_at_once<H: Harness>(_: &H) {
    let h = H::empty().await;
    let makers: Vec<_> = (0..4)
        .map(|_| {
            let store = h.another_store();
            tokio::spawn(async move { H::D::migrate(&store, MigrateMode::Auto).await })
        })
        .collect();
    for maker in makers {
        maker.await.expect("no panic").expect("made, by one of them");
    }
    take(&h, 0).await;
    h.remove().await;
}

async fn fill<H: Harness>(h: &H, ids: std::ops::Range<i64>) {
    let hold = take(h, 0).await;
    let mut offset = hold.next_offset;
    let mut idle = session(h, hold).await;
    for id in ids {
        idle = commit(fresh(begin(idle, with_id(offset, format!("id-{id}").as_bytes())).await)).await;
        offset += 1;
    }
    idle.close().await;
}

pub(super) async fn the_sweep_deletes_what_is_old_and_nothing_else<H: Harness>(h: &H) {
    fill(h, 0..30).await;
    h.age_inbox(Duration::from_secs(3600)).await;
    fill(h, 100..120).await;
    let mut deleted = 0;
    let mut cursor = SweepCursor::default();
    loop {
        let swept = H::D::sweep(h.store(), cursor, Duration::from_secs(1800)).await.expect("swept");
        deleted += swept.deleted;
        match swept.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!((deleted, inbox(h).await), (30, 20));
    let open = fresh(begin(owner(h, 1).await, with_id(0, b"id-0")).await);
    let open = match open.commit_and_begin(with_id(1, b"id-100")).await {
        Ok(claimed) => duplicate(claimed),
        Err(_) => panic!("the chain goes on"),
    };
    commit(open).await.close().await;
}

pub(super) async fn the_sweep_comes_to_an_end<H: Harness>(h: &H) {
    let swept = H::D::sweep(h.store(), SweepCursor::default(), Duration::from_secs(1)).await.expect("swept");
    assert_eq!((swept.deleted, swept.next), (0, None), "an empty inbox has no second step");
    fill(h, 0..50).await;
    let mut steps = 0;
    let mut cursor = Some(SweepCursor::default());
    while let Some(from) = cursor {
        cursor = H::D::sweep(h.store(), from, Duration::from_secs(3600)).await.expect("swept").next;
        steps += 1;
        assert!(steps < 10, "fifty rows are few steps");
    }
    assert_eq!(inbox(h).await, 50);
}

pub(super) async fn tables_of_an_earlier_version_keep_what_they_have<H: Harness>(h: &H) {
    handle::<H>(owner(h, 0).await, with_id(0, b"a")).await.close().await;
    let schema = &h.store().schema;
    h.outside(&format!("alter table {schema}eos_position drop column slots")).await;
    h.outside(&format!("delete from {schema}eos_schema where version >= 4")).await;
    match H::D::migrate(h.store(), MigrateMode::Check).await {
        Err(MigrateError::Behind { found: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
    H::D::migrate(h.store(), MigrateMode::Auto).await.expect("brought up to date");
    let hold = take(h, 0).await;
    assert_eq!((hold.next_offset, hold.slot, inbox(h).await), (1, KeySlot::WHOLE, 1));
}
