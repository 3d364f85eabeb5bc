//! Taking a partition: what it waits for, what it reads, whom it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::harness::*;
use crate::store::dialect::Dialect;
use crate::store::{Begun, Held, KeySlot, PositionDialect, Standing};

pub(super) async fn the_first_take_makes_the_row_at_the_start_it_was_given<H: Harness>(h: &H) {
    let hold = take_as::<H>(h.store(), &key(3), 40, Some("cluster-1"), DEADLINE).await.expect("taken");
    assert_eq!((hold.next_offset, hold.epoch, hold.created, hold.last), (40, 1, true, None));
    assert_eq!(hold.cluster.as_deref(), Some("cluster-1"));
    assert_eq!(standing(h, &hold).await, Standing::Ours { next_offset: 40 });
    handle::<H>(session(h, hold).await, at(40)).await.close().await;
    assert_eq!(position(h).await, 41);
}

pub(super) async fn a_later_take_keeps_the_position_and_raises_the_epoch<H: Harness>(h: &H) {
    let first = take(h, 0).await;
    handle::<H>(session(h, first.clone()).await, at(0)).await.close().await;
    let second = take_as::<H>(h.store(), &key(0), 77, None, DEADLINE).await.expect("taken");
    assert_eq!((second.next_offset, second.epoch, second.created), (1, 2, false));
    assert_eq!(second.stream, first.stream);
    assert_ne!(second.token, first.token);
}

pub(super) async fn the_last_record_and_the_cluster_are_remembered<H: Harness>(h: &H) {
    let hold = take_as::<H>(h.store(), &key(0), 0, None, DEADLINE).await.expect("taken");
    assert_eq!(hold.cluster, None);
    handle::<H>(session(h, hold).await, at(8)).await.close().await;
    let hold = take_as::<H>(h.store(), &key(0), 0, Some("here"), DEADLINE).await.expect("taken");
    assert_eq!((hold.last, hold.cluster.as_deref()), (Some(record(8)), Some("here")));
    let hold = take_as::<H>(h.store(), &key(0), 0, Some("elsewhere"), DEADLINE).await.expect("taken");
    assert_eq!(
        hold.cluster.as_deref(),
        Some("here"),
        "the log that the position speaks of stays the one it was"
    );
}

pub(super) async fn a_take_waits_for_the_attempt_in_flight_and_gets_its_position<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, DEADLINE).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!taking.is_finished(), "it waits");
    let idle = commit(open).await;
    let hold = taking.await.expect("no panic");
    assert_eq!((hold.next_offset, hold.epoch), (1, 2));
    not_ours(begin(idle, at(1)).await).into_hold().await;
    assert_eq!(effects(h).await, 1);
}

pub(super) async fn a_take_gets_the_old_position_when_the_attempt_rolls_back<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, DEADLINE).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.rollback().await.into_hold().await;
    assert_eq!(taking.await.expect("no panic").next_offset, 0);
    assert_eq!(effects(h).await, 0);
}

pub(super) async fn a_healthy_attempt_is_not_ended_by_a_taker<H: Harness>(h: &H) {
    let deadline = Duration::from_secs(2);
    let idle = session_with::<H>(h.store(), take(h, 0).await, options(deadline)).await;
    let mut open = fresh(begin(idle, at(0)).await);
    let other = h.another_store();
    let taking = tokio::spawn(async move { take_within::<H>(&other, 0, deadline).await });
    // The attempt uses nearly all of its time, and works all the while.
    for n in 0..9 {
        effect::<H>(&mut open, n).await;
        tokio::time::sleep(deadline / 10).await;
    }
    commit(open).await.close().await;
    assert_eq!(taking.await.expect("no panic").next_offset, 1);
    assert_eq!(effects(h).await, 9);
}

pub(super) async fn a_second_taker_in_the_queue_is_not_ended<H: Harness>(h: &H) {
    let deadline = Duration::from_millis(500);
    // The attempt's own deadline is long, the takers' patience short; it works without a pause longer than that.
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let other = h.another_store();
            tokio::spawn(async move { take_within::<H>(&other, 0, deadline).await })
        })
        .collect();
    for n in 0..8 {
        effect::<H>(&mut open, n).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    commit(open).await.close().await;
    let mut epochs = vec![];
    for taker in takers {
        let hold = taker.await.expect("neither taker was ended");
        assert_eq!(hold.next_offset, 1);
        epochs.push(hold.epoch);
    }
    epochs.sort_unstable();
    assert_eq!(epochs, [2, 3]);
}

pub(super) async fn standings_answer_for_each_hold_in_order<H: Harness>(h: &H) {
    let first = take(h, 0).await;
    let second = take(h, 1).await;
    handle::<H>(session(h, second.clone()).await, at(4)).await.close().await;
    let stale = take(h, 2).await;
    take(h, 2).await;
    let asked = [
        stale.held(),
        second.held(),
        Held { key: key(9), slot: KeySlot::WHOLE, token: Uuid::new_v4() },
        first.held(),
    ];
    let standings = H::D::standings(h.store(), &asked).await.expect("answered");
    let ours = |next_offset| Standing::Ours { next_offset };
    assert_eq!(standings, [Standing::Fenced, ours(5), Standing::Fenced, ours(0)]);
    assert!(H::D::standings(h.store(), &[]).await.expect("answered").is_empty());
}

pub(super) async fn a_row_that_is_gone_fences<H: Harness>(h: &H) {
    let idle = handle::<H>(owner(h, 0).await, at(0)).await;
    h.outside(&format!("delete from {}eos_position", h.store().schema)).await;
    let hold = not_ours(begin(idle, at(1)).await).into_hold().await;
    assert_eq!(standing(h, &hold).await, Standing::Fenced);
}

pub(super) async fn a_row_that_was_disowned_remembers_a_record_that_no_log_has<H: Harness>(h: &H) {
    let hold = handle::<H>(owner(h, 0).await, at(8)).await.close().await;
    let fenced = take(h, 0).await;
    H::D::disown(h.store(), &hold, options(DEADLINE)).await.expect("answered");
    let last = take(h, 0).await.last;
    assert_eq!(last, fenced.last, "an owner that was replaced disowns nothing");
    let hold = take(h, 0).await;
    H::D::disown(h.store(), &hold, options(DEADLINE)).await.expect("answered");
    let hold = take(h, 0).await;
    let known = record(8);
    assert_eq!((hold.next_offset, hold.last.map(|last| last.offset)), (9, Some(8)));
    assert_ne!(hold.last.map(|last| last.checksum), Some(known.checksum));
}

pub(super) async fn a_stream_remembers_how_many_partitions_there_were_first<H: Harness>(h: &H) {
    let stream = async |group, topic, partitions| {
        H::D::stream(h.store(), group, topic, partitions, options(DEADLINE)).await.expect("answered")
    };
    let first = stream("billing", "event.order", Some(3)).await;
    assert_eq!(first.first_partitions, Some(3));
    assert_eq!(stream("billing", "event.order", Some(5)).await, first);
    assert_eq!(stream("billing", "event.order", None).await, first);
    let other = stream("Billing", "event.order", None).await;
    assert!(other.id != first.id && other.first_partitions.is_none());
    assert_eq!(stream("Billing", "event.order", Some(3)).await, other);
}

pub(super) async fn streams_made_at_the_same_time_are_one<H: Harness>(h: &H) {
    let other = h.another_store();
    let makers: Vec<_> = (0..6)
        .map(|n| {
            let store = if n % 2 == 0 { Arc::clone(h.store()) } else { Arc::clone(&other) };
            tokio::spawn(async move {
                H::D::stream(&store, "billing", "event.order", Some(n), options(DEADLINE)).await
            })
        })
        .collect();
    let mut streams = vec![];
    for maker in makers {
        streams.push(maker.await.expect("no panic").expect("answered"));
    }
    assert!(streams.iter().all(|stream| *stream == streams[0]), "{streams:?}");
}

pub(super) async fn takes_at_the_same_time_each_get_their_epoch<H: Harness>(h: &H) {
    let other = h.another_store();
    let takers: Vec<_> = (0..6)
        .map(|n| {
            let store = if n % 2 == 0 { Arc::clone(h.store()) } else { Arc::clone(&other) };
            tokio::spawn(async move { take_within::<H>(&store, 0, DEADLINE).await })
        })
        .collect();
    let mut holds = vec![];
    for taker in takers {
        holds.push(taker.await.expect("no panic"));
    }
    holds.sort_by_key(|hold| hold.epoch);
    assert_eq!(holds.iter().map(|hold| hold.epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(holds.iter().filter(|hold| hold.created).count(), 1);
    let last = holds.pop().expect("six");
    assert_eq!(standing(h, &last).await, Standing::Ours { next_offset: 0 });
    for hold in &holds {
        assert_eq!(hold.stream, last.stream);
        assert_eq!(standing(h, hold).await, Standing::Fenced);
    }
}

pub(super) async fn positions_are_listed_in_order_with_what_is_known_of_them<H: Harness>(h: &H) {
    take(h, 2).await;
    let hold = take(h, 0).await;
    handle::<H>(session(h, hold).await, at(41)).await.close().await;
    let hold = take(h, 0).await;
    H::D::note_begun(h.store(), &hold, Begun::Attempts(3), options(DEADLINE)).await.expect("counted");

    let all = H::D::positions(h.store(), None, None).await.expect("a list");
    assert_eq!(all.iter().map(|reached| reached.key.clone()).collect::<Vec<_>>(), [key(0), key(2)]);
    assert_eq!((all[0].next_offset, all[0].epoch, all[0].attempts), (42, 2, 3));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    let ago = i64::try_from(now).expect("not yet") - all[0].taken_ms;
    assert!((-60_000..60_000).contains(&ago), "taken {ago} ms ago");
    for (group, topic, count) in [
        (Some("billing"), None, 2),
        (Some("billing"), Some("event.order"), 2),
        (Some("audit"), None, 0),
        (None, Some("Event.Order"), 0),
    ] {
        let found = H::D::positions(h.store(), group, topic).await.expect("a list");
        assert_eq!(found.len(), count, "{group:?} {topic:?}");
    }
}
