//! What is not there, or no longer, or does not end.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_gone_is_suspicious_and_another_seek_goes_on() {
    for bench in [Bench::new(2), Bench::new(2).cooperative()] {
        // The mock keeps 5 MB of a partition.
        bench.produce(0, (0..10_000).map(|number| format!("{number:01000}")));
        bench.produce(1, numbers(0..300));
        let mut member = bench.member(Duration::from_secs(5));
        let mut leases = [member.lease().await, member.lease().await];
        leases.sort_by_key(|(lease, _)| lease.partition);
        let [(mut gone, _g0), (mut healthy, _g1)] = leases;
        healthy.seek(0).await.expect("sought");
        let mut of_healthy = read(&mut healthy, 256).await; // or more: a chunk ends where the fetched records did

        let suspicion = gone.suspicion();
        gone.seek(5).await.expect("accepted; that it is gone turns out later");
        within(10, suspicion.notified()).await;
        let low = gone.watermarks().await.expect("watermarks").low;
        assert!(low > 5);
        gone.seek(low).await.expect("sought");
        let records = read(&mut gone, 100).await;
        assert_eq!(records[0].offset(), low);

        of_healthy.extend(read(&mut healthy, 300 - of_healthy.len()).await);
        assert!(of_healthy.iter().map(Record::offset).eq(0..300), "the other partition misses nothing");
        drop((_g0, _g1));
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_waited_for_and_not_made_by_asking() {
    let bench = Bench::new(0);
    let mut member = bench.member(Duration::from_secs(5));
    assert_eq!(member.cluster.partitions(&bench.topic).await.expect("an answer"), None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(member.cluster.partitions(&bench.topic).await.expect("an answer"), None);
    bench.broker().create_topic("event.order", 1).expect("a topic");
    let (_lease, guard) = within(30, member.incoming.recv()).await.expect("a lease");
    assert_eq!(member.cluster.partitions(&bench.topic).await.expect("an answer"), Some(1));
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_does_not_hold_up_the_stop() {
    for committed in [None, Some(10)] {
        let bench = Bench::new(1).set("session.timeout.ms", "45000");
        bench.produce(0, numbers(0..10));
        let mut member = bench.member(Duration::from_secs(5));
        let (mut lease, guard) = member.lease().await;
        lease.seek(0).await.expect("sought");
        read(&mut lease, 10).await;
        bench.broker().run(|broker| broker.broker_down(-1)).expect("down");
        committed.inspect(|offset| lease.committed(*offset));
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(guard);
        let took = member.stop().await;
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_outlasts_the_deadline_is_dropped() {
    let bench = Bench::new(1);
    let mut member = bench.member(Duration::from_millis(300));
    let (lease, _never_let_go) = member.lease().await;
    lease.seek(0).await.expect("sought");
    let began = Instant::now();
    member.consumer.stop(Duration::from_millis(300));
    within(10, member.consumer.ended()).await.expect("ended");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_panics_ends_the_consumer_with_an_error() {
    let bench = Bench::new(1);
    let cluster = Cluster::new(&bench.client()).expect("a cluster");
    let options = bench.options(Duration::from_secs(1));
    let on_lease: OnLease = Box::new(|_lease| tokio::spawn(async { panic!("a bug of ours") }));
    let mut consumer = Consumer::start(&bench.client(), options, cluster, on_lease).expect("a member");
    let failure = within(15, consumer.ended()).await.expect_err("a panic");
    assert!(failure.to_string().contains("a bug of ours"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_reading_goes_on_where_it_was() {
    let bench = Bench::new(1);
    bench.produce(0, numbers(0..10));
    let mut member = bench.member(Duration::from_secs(5));
    let (mut lease, guard) = member.lease().await;
    lease.seek(0).await.expect("sought");
    read(&mut lease, 10).await;
    bench.broker().run(|broker| broker.broker_down(-1)).expect("down");
    // Shorter than the session, which the mock would end.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bench.broker().run(|broker| broker.broker_up(-1)).expect("up");
    bench.produce(0, numbers(10..20));
    assert_eq!(offsets(&read(&mut lease, 10).await), (10..20).collect::<Vec<_>>());
    drop(guard);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_cannot_be_reached_are_waited_for() {
    let client = ClientOptions { bootstrap_servers: "127.0.0.1:1".to_owned(), ..ClientOptions::default() };
    let cluster = Cluster::new(&client).expect("a cluster");
    tokio::time::timeout(Duration::from_secs(2), cluster.connect()).await.expect_err("nobody is there");
    let began = Instant::now();
    cluster.close().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_thread_that_is_blocked_shows_in_its_pulse() {
    let bench = Bench::new(1);
    let cluster = Cluster::new(&bench.client()).expect("a cluster");
    // Called on the poll thread, where nobody may wait.
    let on_lease: OnLease = Box::new(|_| {
        std::thread::sleep(Duration::from_secs(3));
        tokio::spawn(std::future::pending())
    });
    let options = bench.options(Duration::from_millis(100));
    let mut consumer =
        Consumer::start(&bench.client(), options, cluster.clone(), on_lease).expect("a member");
    let pulse = consumer.pulse();
    let until = async |what: &str, is_so: &dyn Fn(Duration) -> bool| {
        let began = Instant::now();
        while !is_so(pulse.since_last()) {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", pulse.since_last());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until("it is blocked", &|since| since > Duration::from_secs(2)).await;
    until("it turns again", &|since| since < Duration::from_secs(1)).await;
    consumer.stop(Duration::from_millis(100));
    consumer.ended().await.expect("a member that ends");
    cluster.close().await;
}
