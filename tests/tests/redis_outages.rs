//! What an idempotent listener does when Redis is down, hangs, is full, forgets, or fails over: nothing is skipped, and what
//! was forgotten is the one thing that is handled again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use eos_tests::{
    Kind, Launch, Order, PATIENCE, Private, Redis, RedisCluster, RedisOverTls, Scene, Sentinel, What,
    eventually, finished, is_done_with_all, produce_twins, stays,
};
use tokio::net::{TcpListener, TcpStream};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");
const WATCH: Duration = Duration::from_secs(2);

struct World {
    scene: Scene,
    redis: Private,
}

impl World {
    async fn new(partitions: i32) -> Self {
        let (scene, redis) =
            tokio::join!(Scene::new(Kind::Postgres, partitions, SINKS), Private::start("redis"));
        World { scene, redis }
    }

    fn launch(&self, listener: &str) -> Launch {
        launch(&self.scene, listener, &format!("redis://{}", self.redis.address()))
    }

    fn cache(&self) -> Redis {
        Redis::at(&self.redis.address())
    }
}

fn launch(scene: &Scene, listener: &str, url: &str) -> Launch {
    scene
        .launch()
        .env("SINK_LISTENER", listener)
        .env("EOS_REDIS_URL", url)
        .env("EOS__REDIS__RESPONSE_TIMEOUT", "300ms")
        .env("EOS__REDIS__CONNECT_TIMEOUT", "300ms")
        // An outage that counted an attempt would set a record aside, and there is no topic for it.
        .env("EOS__RETRY__MAX", "1")
}

fn assert_each(scene: &Scene, times: usize) {
    let wrong: Vec<_> = finished(scene).into_iter().filter(|(_, found)| *found != times).collect();
    assert!(wrong.is_empty(), "not {times} times: {wrong:?}");
}

/// Waits until so many handlers have begun; one more would be too many.
async fn so_many_have_begun(scene: &Scene, count: usize) {
    eventually(&format!("{count} have begun"), PATIENCE, async || match scene.told().begun() {
        begun if begun == count => Ok(()),
        begun => Err(format!("{begun} have")),
    })
    .await;
}

/// Since so many had begun: none without its claim.
async fn nothing_begins(scene: &Scene, before: usize) {
    stays("no handler begins", WATCH, async || match scene.told().begun() {
        begun if begun == before => Ok(()),
        begun => Err(format!("{begun}, and {before} before")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_down_is_waited_for_and_nothing_is_skipped() {
    let mut world = World::new(2).await;
    world.scene.produce(What::Insert, 10).await;
    let mut service = world.launch("idempotent").start();
    is_done_with_all(&world.scene).await;
    world.redis.kill();
    world.scene.produce(What::Insert, 20).await;
    service.has_said("an outage: the listener waits").await;
    nothing_begins(&world.scene, 10).await;
    world.redis.start_again().await;
    is_done_with_all(&world.scene).await;
    service.has_said("the outage is over").await;
    service.stop().await;
    assert_each(&world.scene, 1);
    assert_eq!(service.says("failed_attempts=0"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_while_redis_went_down_is_marked_and_not_handled_again() {
    let mut world = World::new(1).await;
    world.scene.close_gate();
    world.scene.produce(What::Hold, 1).await;
    world.scene.produce(What::Insert, 5).await;
    let mut service = world.launch("idempotent").start();
    so_many_have_begun(&world.scene, 1).await;
    world.redis.kill();
    world.scene.open_gate();
    service.has_said("an outage: the listener waits").await;
    nothing_begins(&world.scene, 1).await;
    world.redis.start_again().await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
    let marks = world.cache().keys("eos:").await.len();
    assert_eq!(marks, 6, "it is marked, although its claim was forgotten");
    assert_eq!(service.says("Redis had forgotten its claim"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_to_go_on_without_redis_does() {
    let mut world = World::new(2).await;
    world.scene.produce(What::Insert, 10).await;
    let mut service = world.launch("idempotent_always").start();
    is_done_with_all(&world.scene).await;
    world.redis.kill();
    let down = world.scene.produce(What::Insert, 20).await;
    is_done_with_all(&world.scene).await;
    world.redis.start_again().await;
    // It dedupes again as soon as it can.
    let later = world.scene.produce(What::Insert, 5).await;
    is_done_with_all(&world.scene).await;
    eventually("marks are made again", PATIENCE, async || {
        world.scene.produce(What::Insert, 1).await;
        if world.cache().keys("eos:").await.is_empty() { Err("none is".to_owned()) } else { Ok(()) }
    })
    .await;
    let again = world.scene.produce(What::Insert, 5).await;
    world.scene.produce_again(&again).await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
    assert!(!down.is_empty() && !later.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_an_outage_until_it_answers() {
    let world = World::new(2).await;
    world.scene.produce(What::Insert, 10).await;
    let mut service = world.launch("idempotent").start();
    is_done_with_all(&world.scene).await;
    world.redis.sleep();
    world.scene.produce(What::Insert, 20).await;
    service.has_said("an outage: the listener waits").await;
    nothing_begins(&world.scene, 10).await;
    world.redis.wake();
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
}

/// A mark that Redis carried out, and could not say so, is made again: what it finds then is its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_whose_answer_was_lost_accuses_nobody() {
    let world = World::new(1).await;
    world.scene.close_gate();
    // The first one teaches the server what a mark is.
    world.scene.produce(What::Insert, 1).await;
    world.scene.produce(What::Hold, 1).await;
    let mut service = world.launch("idempotent").start();
    so_many_have_begun(&world.scene, 2).await;
    world.redis.sleep();
    world.scene.open_gate();
    service.has_said("an outage: the listener waits").await;
    world.redis.wake();
    service.has_said("the outage is over").await;
    service.stop().await;
    assert_each(&world.scene, 1);
    assert_eq!(service.says("has handled it as well"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_is_an_outage_until_it_has_room() {
    let world = World::new(2).await;
    world.scene.produce(What::Insert, 10).await;
    let mut service = world.launch("idempotent").start();
    is_done_with_all(&world.scene).await;
    world.cache().ask::<()>("CONFIG SET maxmemory-policy noeviction").await;
    world.cache().ask::<()>("CONFIG SET maxmemory 1").await;
    world.scene.produce(What::Insert, 20).await;
    service.has_said("OOM").await;
    nothing_begins(&world.scene, 10).await;
    world.cache().ask::<()>("CONFIG SET maxmemory 0").await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
    assert_eq!(service.says("failed_attempts=0"), 1);
}

/// What is documented of a Redis that forgets: what was done is done again when it comes again, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_flush_forgot_is_handled_again_when_it_comes_again_and_nothing_else() {
    let world = World::new(2).await;
    let orders = world.scene.produce(What::Insert, 10).await;
    let mut service = world.launch("idempotent").start();
    is_done_with_all(&world.scene).await;
    assert_each(&world.scene, 1);
    world.cache().ask::<()>("FLUSHALL").await;
    world.cache().ask::<()>("SCRIPT FLUSH").await;
    world.scene.produce_again(&orders).await;
    is_done_with_all(&world.scene).await;
    world.scene.produce_again(&orders).await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_flush_forgot_is_made_again_by_its_renewal() {
    let world = World::new(2).await;
    world.scene.close_gate();
    let order = Order::new(What::Hold);
    let id = Some(order.order_id.to_string());
    world.scene.produce_orders(Some(0), vec![(order.clone(), id.clone())]).await;
    let mut service = world.launch("idempotent").start();
    so_many_have_begun(&world.scene, 1).await;
    world.cache().ask::<()>("FLUSHALL").await;
    eventually("it is claimed again", PATIENCE, async || match world.cache().keys("eos:").await.len() {
        1 => Ok(()),
        keys => Err(format!("{keys} keys")),
    })
    .await;
    world.scene.produce_orders(Some(1), vec![(order, id)]).await;
    service.has_said("another has claimed this record's id").await;
    world.scene.open_gate();
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_lives_as_long_as_its_ttl_and_its_key_names_group_topic_and_id() {
    let world = World::new(1).await;
    let sent = world.scene.produce(What::Insert, 1).await;
    let mut service = world.launch("idempotent").env("EOS__REDIS__PREFIX", "shop").start();
    is_done_with_all(&world.scene).await;
    service.stop().await;
    let key = format!(
        "shop:{}:{}:{}",
        world.scene.group,
        world.scene.topic,
        sent[0].message_id.as_deref().expect("it has an id")
    );
    assert_eq!(world.cache().ask::<String>(&format!("GET {key}")).await, "done");
    let left: i64 = world.cache().ask(&format!("PTTL {key}")).await;
    assert!((3_500_000..=3_600_000).contains(&left), "an hour, as the listener says: {left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinels_failover_is_followed_and_what_was_replicated_is_remembered() {
    let mut world = World::new(2).await;
    let replica = Private::start("redis").await;
    let follow = format!("REPLICAOF 127.0.0.1 {}", world.redis.port());
    Redis::at(&replica.address()).ask::<()>(&follow).await;
    let sentinel = Sentinel::of(world.redis.port()).await;
    let url = format!("redis+sentinel://{}/main", sentinel.address());
    let orders = world.scene.produce(What::Insert, 50).await;
    let mut service = launch(&world.scene, "idempotent", &url).start();
    is_done_with_all(&world.scene).await;
    eventually("all is replicated", PATIENCE, async || {
        match Redis::at(&replica.address()).keys("eos:").await.len() {
            50 => Ok(()),
            keys => Err(format!("{keys} keys are")),
        }
    })
    .await;

    world.redis.kill();
    world.scene.produce(What::Insert, 50).await;
    world.scene.produce_again(&orders).await;
    is_done_with_all(&world.scene).await;
    assert_eq!(sentinel.master().await, replica.port());
    assert_each(&world.scene, 1);

    // The old master comes back as a replica, and is made the master again while both are alive.
    world.redis.start_again().await;
    let asks = Redis::at(&sentinel.address());
    eventually("the sentinel hands over", PATIENCE, async || {
        asks.try_ask::<()>("SENTINEL FAILOVER main").await.map_err(|error| error.to_string())
    })
    .await;
    eventually("the old master is the new one", PATIENCE, async || {
        if sentinel.master().await == world.redis.port() { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    world.scene.produce(What::Insert, 50).await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
    world.redis.stop().await;
}

/// A name that leads to another server after a failover, as a cloud's endpoint does; connections that are open stay open.
async fn endpoint(leads_to: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = leads_to.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.expect("the server is there");
                // Either side may end it.
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_only_be_read_is_left_for_the_one_that_its_name_leads_to_now() {
    let world = World::new(2).await;
    let replica = Private::start("redis").await;
    let follow = |port: u16| format!("REPLICAOF 127.0.0.1 {port}");
    let leads_to = Arc::new(AtomicU16::new(world.redis.port()));
    let url = format!("redis://127.0.0.1:{}", endpoint(Arc::clone(&leads_to)).await);
    world.scene.produce(What::Insert, 10).await;
    let mut service = launch(&world.scene, "idempotent", &url).start();
    is_done_with_all(&world.scene).await;
    leads_to.store(replica.port(), Ordering::Relaxed);
    world.cache().ask::<()>(&follow(replica.port())).await;
    world.scene.produce(What::Insert, 20).await;
    is_done_with_all(&world.scene).await;
    service.stop().await;
    assert_each(&world.scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_remembers_like_one_server() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    let cluster = RedisCluster::start().await;
    let orders = scene.produce(What::Insert, 50).await;
    scene.produce_again(&orders).await;
    produce_twins(&scene, What::Insert).await;
    let url = format!("redis+cluster://{}", cluster.addresses());
    let mut service = launch(&scene, "idempotent", &url).start();
    is_done_with_all(&scene).await;
    service.stop().await;
    assert_each(&scene, 1);
    let kept = cluster.keys("eos:").await;
    assert_eq!(kept.iter().sum::<usize>(), 51);
    assert!(kept.iter().all(|keys| *keys > 0), "over all nodes: {kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_a_server_is_believed_whose_certificate_is() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let server = RedisOverTls::start().await;
    scene.produce(What::Insert, 5).await;
    let url = format!("rediss://localhost:{}", server.port());
    let mut doubts = launch(&scene, "idempotent", &url).start();
    doubts.has_said("an outage: the listener waits").await;
    doubts.has_said("certificate").await;
    nothing_begins(&scene, 0).await;
    doubts.stop().await;
    let authority = server.authority().to_string_lossy().into_owned();
    let mut believes = launch(&scene, "idempotent", &url).env("SSL_CERT_FILE", authority).start();
    is_done_with_all(&scene).await;
    believes.stop().await;
    assert_each(&scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_password_that_is_asked_for_nothing_runs_and_none_is_shown() {
    let world = World::new(1).await;
    world.cache().ask::<()>("CONFIG SET requirepass hush-hush").await;
    world.scene.produce(What::Insert, 5).await;
    let address = world.redis.address();
    let mut wrong = launch(&world.scene, "idempotent", &format!("redis://:hush-wrong@{address}")).start();
    wrong.has_said("an outage: the listener waits").await;
    nothing_begins(&world.scene, 0).await;
    wrong.stop().await;
    assert_eq!(wrong.says("hush"), 0);
    let mut right = launch(&world.scene, "idempotent", &format!("redis://:hush%2Dhush@{address}")).start();
    is_done_with_all(&world.scene).await;
    right.stop().await;
    assert_each(&world.scene, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_a_redis_is_a_mistake_that_is_said_before_anything_starts() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    let mut service = scene.launch().env("SINK_LISTENER", "idempotent").without("EOS_REDIS_URL").start();
    assert!(!service.exit(PATIENCE).await.success());
    assert!(
        service.says("`idempotent(redis)`, and there is no Redis; set `[redis] url` (`EOS_REDIS_URL`)") > 0
    );
}
