//! From an assignment to records, in order, and to offsets.

use std::time::Duration;

use rdkafka::types::RDKafkaRespErr;

use super::*;
use crate::source::SourceError;

#[tokio::test(flavor = "multi_thread")]
async fn delivery_begins_where_the_worker_seeks_and_keeps_the_order() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..1_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    let marks = lease.watermarks().await.expect("watermarks");
    assert_eq!((marks.low, marks.high), (0, 1_000));
    assert_eq!(in_kafka(&lease).await, None);
    for start in [3_i64, 990, 0, 500] {
        lease.seek(start).await.expect("sought");
        let records = read(&mut lease, 1_000 - start as usize).await;
        assert_eq!(offsets(&records), (start..1_000).collect::<Vec<_>>());
        assert_eq!(records[0].payload(), Some(start.to_string().as_bytes()));
    }
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeks_in_quick_succession_never_mix_and_never_skip() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..2_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    for round in 0..30_i64 {
        let start = round * 7 % 1_500;
        lease.seek(start).await.expect("sought");
        let records = read(&mut lease, 1).await;
        let first = records[0].offset();
        assert_eq!(first, start);
        assert_eq!(offsets(&records), (first..first + records.len() as i64).collect::<Vec<_>>());
    }
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_worker_holds_reading_back_and_loses_nothing() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..10_000));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    lease.seek(0).await.expect("sought");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut queued = Vec::new();
    while let Some(more) = lease.try_next() {
        queued.extend(more);
    }
    assert!((2_000..2_000 + 256).contains(&queued.len()), "{} records were handed over", queued.len());
    lease.taken(queued.len());
    queued.extend(read(&mut lease, 10_000 - queued.len()).await);
    assert_eq!(offsets(&queued), (0..10_000).collect::<Vec<_>>());
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_follow_what_the_worker_committed_and_a_stop_tells_the_last_one() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..10));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    lease.seek(0).await.expect("sought");
    read(&mut lease, 10).await;
    lease.committed(4);
    until(async || in_kafka(&lease).await == Some(4)).await;
    lease.committed(10);
    drop(guard);
    member.stop().await;

    let mut again = bench.member(Duration::from_secs(5));
    let (lease, guard) = again.lease().await;
    assert_eq!(in_kafka(&lease).await, Some(10));
    drop(guard);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_confirms_what_is_held_and_denies_what_is_not() {
    let bench = Bench::new(1);
    let mut member = bench.member(Duration::from_secs(5));
    let (lease, guard) = member.lease().await;
    assert!(lease.confirm(-1).await.expect("an answer"));
    assert!(lease.confirm(7).await.expect("an answer"));
    assert_eq!(in_kafka(&lease).await, Some(7));
    assert!(lease.confirm(-1).await.expect("an answer"), "and leaves the offset alone");
    assert_eq!(in_kafka(&lease).await, Some(7));

    bench
        .broker()
        .run(|broker| {
            let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION];
            broker.request_errors(rdkafka::types::RDKafkaApiKey::OffsetCommit, &fenced);
            Ok(())
        })
        .expect("told");
    // The denial and the revocation that follows from it may come in either order.
    assert!(matches!(lease.confirm(8).await, Ok(false) | Err(SourceError::Revoked)));
    within(10, lease.revoked.cancelled()).await;
    drop(guard);
    assert!(matches!(lease.confirm(8).await, Err(SourceError::Revoked)));
    assert!(matches!(lease.seek(8).await, Err(SourceError::Revoked)));
    member.stop().await;
}
