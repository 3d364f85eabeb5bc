//! An owner that fell asleep in the middle of an attempt, with the partition's row locked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::harness::*;
use crate::store::{Open, Standing, StoreOptions};

const SHORT: Duration = Duration::from_millis(700);

/// An attempt that will not go on by itself, and that the server's own timeouts do not end.
async fn asleep<H: Server>(h: &H) -> Open<H::D> {
    let idle = session_with::<H>(h.store(), take(h, 0).await, options(SHORT)).await;
    let mut open = fresh(begin(idle, with_id(0, b"a")).await);
    H::write(open.tx(), H::NO_TIMEOUTS).await.expect("the server's own timeouts are off");
    effect::<H>(&mut open, 0).await;
    open
}

pub(super) async fn a_sleeping_owner_is_ended_past_its_deadline_and_writes_nothing<H: Server>(h: &H) {
    let mut sleeper = asleep(h).await;
    let began = Instant::now();
    let hold = take_within::<H>(&h.another_store(), 0, SHORT).await;
    let took = began.elapsed();
    assert!(took > SHORT && took < SHORT + StoreOptions::MARGIN + Duration::from_secs(8), "{took:?}");
    assert_eq!((hold.next_offset, hold.epoch), (0, 2));

    let woke = H::write(sleeper.tx(), "insert into effect (n) values (1)").await;
    assert!(woke.is_err(), "its connection is gone");
    assert!(sleeper.commit().await.is_err());
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (0, 0, 0));
    assert_eq!(standing(h, &hold).await, Standing::Ours { next_offset: 0 });
    handle::<H>(session(h, hold).await, with_id(0, b"a")).await.close().await;
    assert_eq!((effects(h).await, inbox(h).await, position(h).await), (1, 1, 1));
}

pub(super) async fn two_takers_behind_a_sleeping_owner_both_come_through<H: Server>(h: &H) {
    let sleeper = asleep(h).await;
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let other = h.another_store();
            tokio::spawn(async move { take_within::<H>(&other, 0, SHORT).await })
        })
        .collect();
    let mut epochs = vec![];
    for taker in takers {
        epochs.push(taker.await.expect("it was not ended").epoch);
    }
    epochs.sort_unstable();
    assert_eq!(epochs, [2, 3]);
    assert!(sleeper.commit().await.is_err());
}

pub(super) async fn takers_with_the_whole_pool_in_their_hands_still_end_a_sleeping_owner<H: Server>(h: &H) {
    let sleeper = asleep(h).await;
    let other = h.another_store();
    let began = Instant::now();
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&other);
            tokio::spawn(async move { take_within::<H>(&store, 0, SHORT).await })
        })
        .collect();
    for taker in takers {
        taker.await.expect("it came through");
    }
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(sleeper.commit().await.is_err());
}

pub(super) async fn a_sleeping_owner_is_ended_by_the_servers_own_timeout<H: Server>(h: &H) {
    let idle = session_with::<H>(h.store(), take(h, 0).await, options(SHORT)).await;
    let mut open = fresh(begin(idle, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let began = Instant::now();
    // This taker would wait for ever.
    let hold = take_within::<H>(&h.another_store(), 0, Duration::from_secs(600)).await;
    assert!(began.elapsed() < SHORT + StoreOptions::MARGIN + Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(hold.next_offset, 0);
    assert!(open.commit().await.is_err());
    assert_eq!((effects(h).await, position(h).await), (0, 0));
}

pub(super) async fn a_statement_past_the_deadline_is_cut_off<H: Server>(h: &H) {
    let idle = session_with::<H>(h.store(), take(h, 0).await, options(SHORT)).await;
    let mut open = fresh(begin(idle, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let began = Instant::now();
    H::write(open.tx(), H::LONG).await.expect_err("it is cut off");
    assert!(began.elapsed() < SHORT + Duration::from_secs(3), "{:?}", began.elapsed());
    open.rollback().await.into_hold().await;
    assert_eq!((effects(h).await, position(h).await), (0, 0));
}

pub(super) async fn an_attempt_with_a_longer_deadline_than_the_takers_is_not_ended<H: Server>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, SHORT).await });
    tokio::time::sleep((SHORT + StoreOptions::MARGIN) * 2).await;
    commit(open).await.close().await;
    assert_eq!(taking.await.expect("taken").next_offset, 1);
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn a_strangers_lock_is_waited_for_and_the_stranger_lives<H: Server>(h: &H) {
    // The last claim of the row was committed long ago, on a connection that is now busy elsewhere.
    let idle = session_with::<H>(h.store(), take(h, 0).await, options(SHORT)).await;
    let innocent = handle::<H>(idle, at(0)).await;
    let lock = format!("select next_offset from {}eos_position for update", h.store().schema);
    let stranger = h.begin_outside(&lock).await;
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, SHORT).await });
    tokio::time::sleep(SHORT + StoreOptions::MARGIN * 3).await;
    assert!(!taking.is_finished(), "the stranger's lock is respected");
    h.commit_outside(stranger).await;
    assert_eq!(taking.await.expect("taken").next_offset, 1);
    not_ours(begin(innocent, at(1)).await).into_hold().await;
}
