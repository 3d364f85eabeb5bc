//! Members come and go, under each of the group's protocols.

use std::time::Duration;

use super::*;
use crate::source::SourceError;

#[tokio::test(flavor = "multi_thread")]
async fn eager_a_partition_changes_hands_only_when_its_worker_has_ended() {
    everything_changes_hands(Bench::new(2)).await;
    let bench = Bench::real(2).await;
    let told = everything_changes_hands(bench).await;
    assert_eq!(told, Some(7), "Kafka is told before the partition is given up; the mock refuses that");
}

#[tokio::test(flavor = "multi_thread")]
async fn cooperative_one_partition_moves_and_the_other_goes_on() {
    one_moves(Bench::new(2).cooperative()).await;
    one_moves(Bench::real(2).await.cooperative()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kip_848_one_partition_moves_and_the_other_goes_on() {
    one_moves(Bench::real(2).await.set("group.protocol", "consumer")).await;
}

/// What Kafka was told of the partition that the first member gave up.
async fn everything_changes_hands(bench: Bench) -> Option<i64> {
    bench.produce(0, numbers(0..100));
    bench.produce(1, numbers(0..100));
    let mut first = bench.member(Duration::from_secs(20));
    let (one, one_guard) = first.lease().await;
    let (two, two_guard) = first.lease().await;
    one.seek(0).await.expect("sought");
    let mut second = bench.member(Duration::from_secs(20));
    within(15, one.revoked.cancelled()).await;
    within(15, two.revoked.cancelled()).await;
    drop(two_guard);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(second.incoming.try_recv().is_err(), "the first worker is still at it");
    one.committed(7);
    drop(one_guard);
    let (mine, mine_guard) = second.settled(1).await.remove(0);
    let (other, other_guard) = first.settled(1).await.remove(0);
    assert_ne!(mine.partition, other.partition);
    let told = in_kafka(if mine.partition == one.partition { &mine } else { &other }).await;
    drop((mine_guard, other_guard));
    tokio::join!(first.stop(), second.stop());
    told
}

async fn one_moves(bench: Bench) {
    bench.produce(0, numbers(0..5_000));
    bench.produce(1, numbers(0..5_000));
    let mut first = bench.member(Duration::from_secs(20));
    let mut held = [first.lease().await, first.lease().await];
    for (lease, _) in &mut held {
        lease.seek(0).await.expect("sought");
        read(lease, 1).await;
        lease.committed(1);
    }
    let mut second = bench.member(Duration::from_secs(20));
    until(async || held.iter().any(|(lease, _)| lease.revoked.is_cancelled())).await;
    let [a, b] = held;
    let ((moving, guard), (mut kept, kept_guard)) = if a.0.revoked.is_cancelled() { (a, b) } else { (b, a) };
    moving.committed(2);
    drop(guard);
    let (taken, taken_guard) = second.lease().await;
    assert_eq!(taken.partition, moving.partition);
    assert!(matches!(moving.confirm(2).await, Err(SourceError::Revoked)));
    assert!(taken.confirm(2).await.expect("an answer"));
    assert!(!kept.revoked.is_cancelled(), "it was not touched");
    assert!(kept.confirm(1).await.expect("an answer"));
    // What it reads now goes on where it stopped: nothing is skipped, nothing comes twice.
    let records = read(&mut kept, 4_000).await;
    let first_offset = records[0].offset();
    assert_eq!(offsets(&records), (first_offset..first_offset + records.len() as i64).collect::<Vec<_>>());
    drop((taken_guard, kept_guard));
    tokio::join!(first.stop(), second.stop());
}
