//! What a recorder is told, of services in the test's own process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use eos_runtime::prelude::*;
use eos_runtime::{app, relay};
use eos_tests::{Admin, Kind, PATIENCE, Scene, Sent, eventually, servers};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key as MetricKey, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::sync::oneshot;

/// Says which topic it is to be noted in.
#[derive(Serialize, Deserialize)]
struct Note {
    topic: String,
    fail_once: bool,
}

static FAILED: AtomicBool = AtomicBool::new(false);

#[kafka_listener(id = "notes", topic = "${app.topic}", transactional)]
async fn on_note(tx: &mut PgTx, Json(note): Json<Note>) -> HandlerResult {
    if note.fail_once && !FAILED.swap(true, Ordering::Relaxed) {
        return Err(HandlerError::again("it is the first time"));
    }
    tx.publish_to(&note.topic, "key", "noted", Headers::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_is_told_what_listeners_and_the_relay_have_done() {
    let told = recorder();
    let scene = Scene::new(Kind::Postgres, 1, "none").await;
    let noted = format!("{}.noted", scene.topic);
    scene.kafka.create_topic(&noted, 1, &[]).await;
    let missing = format!("{}.missing", scene.topic);
    let note = |id: Option<&str>, topic: &str, fail_once| Sent {
        payload: serde_json::to_vec(&Note { topic: topic.to_owned(), fail_once }).ok(),
        headers: id.map(|id| ("message-id".to_owned(), Some(id.into()))).into_iter().collect(),
        ..Sent::default()
    };
    let notes = [
        note(Some("a"), &noted, false),
        note(Some("b"), &noted, true),
        note(Some("a"), &noted, false),
        note(None, &noted, false),
        note(Some("c"), &missing, false),
    ];
    scene.kafka.produce(&scene.topic, &notes).await;
    let no_note = Sent { payload: Some(b"no note".to_vec()), ..Sent::default() };
    scene.kafka.produce(&scene.topic, &[no_note]).await;

    let settings = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\ngroup = \"{}\"\n[database]\nurl = \"{}\"\n[retry]\nbackoff = \"10ms\"\n\
         [app]\ntopic = \"{}\"\n",
        servers().kafka,
        scene.group,
        scene.database.url(),
        scene.topic
    );
    let file = scene.folder().join("eos.toml");
    std::fs::write(&file, settings).expect("the settings are written");
    let (stop, stopped) = oneshot::channel::<()>();
    let service = app().listeners(["notes"]).settings_from(file).shutdown(async { drop(stopped.await) });
    let service = tokio::spawn(service.run());
    let listener = |name: &str| format!("{name}{{listener=notes}}");
    let wanted = BTreeMap::from([
        (listener("eos_records_applied_total"), 4),
        (listener("eos_records_duplicate_total"), 1),
        (listener("eos_records_without_id_total"), 1),
        (listener("eos_attempts_begun_total"), 6),
        (listener("eos_attempts_failed_total"), 2),
        (listener("eos_attempts_retried_total"), 1),
        (listener("eos_partitions_taken_total"), 1),
        (listener("eos_partitions_fenced_total"), 0),
        ("eos_rebalances_total{listener=notes}{change=assigned}".to_owned(), 1),
        (listener("eos_records_set_aside_total"), 1),
        (listener("eos_records_replayed_total"), 0),
        (listener("eos_records_parked_total"), 0),
        (listener("eos_records_unparked_total"), 0),
        (listener("eos_claims_lost_total"), 0),
        (listener("eos_dedupe_left_out_total"), 0),
        ("eos_outbox_published_total{database=default}".to_owned(), 3),
        ("eos_outbox_refused_total{database=default}".to_owned(), 1),
    ]);
    eventually("all of it is counted", PATIENCE, async || {
        let counted = told.counted("notes");
        if counted == wanted { Ok(()) } else { Err(format!("{counted:?}")) }
    })
    .await;
    drop(stop);
    service.await.expect("no panic").expect("it stops");
    assert_eq!(told.counted("notes"), wanted, "and nothing twice");
    scene.kafka.delete_topic(&noted).await;
}

static GATE: AtomicBool = AtomicBool::new(false);
static DOWN: AtomicBool = AtomicBool::new(false);

/// Waits at the gate, and publishes what it was told; `never` can never be handled.
#[kafka_listener(id = "gated", topic = "${app.gated}", transactional(database = "side"), dead_letter = "off")]
async fn on_gated(tx: &mut PgTx, Json(text): Json<String>) -> HandlerResult {
    while !GATE.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if text == "never" {
        return Err(HandlerError::fatal("never"));
    }
    if DOWN.load(Ordering::Relaxed) {
        return Err(HandlerError::outage("it is down"));
    }
    tx.publish_to("gated.out", "key", text, Headers::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_depth_outages_and_stops_are_seen_while_they_last() {
    let told = recorder();
    let scene = Scene::new(Kind::Postgres, 1, "none").await;
    let out = format!("{}.out", scene.topic);
    let settings = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\ngroup = \"{}\"\n[databases.side]\nurl = \"{}\"\n\
         [outbox]\nrelay = \"off\"\n[retry]\nmax_backoff = \"300ms\"\n[app]\ngated = \"{}\"\n",
        servers().kafka,
        scene.group,
        scene.database.url(),
        scene.topic
    );
    let file = scene.folder().join("eos.toml");
    std::fs::write(&file, settings).expect("the settings are written");
    let records = |texts: &[&str]| -> Vec<Sent> {
        let payload = |text: &&str| Some(serde_json::to_vec(text).expect("JSON"));
        texts.iter().map(|text| Sent { payload: payload(text), ..Sent::default() }).collect()
    };
    scene.kafka.produce(&scene.topic, &records(&["one"; 50])).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = app().listeners(["gated"]).settings_from(&file).shutdown(async { drop(stopped.await) });
    let service = tokio::spawn(service.run());
    let of_partition =
        |name: &str| format!("{name}{{listener=gated}}{{topic={}}}{{partition=0}}", scene.topic);
    let (lag, position) = (of_partition("eos_lag_records"), of_partition("eos_position"));
    let listener = |name: &str| format!("{name}{{listener=gated}}");
    let (waiting, oldest) = ("eos_outbox_waiting{database=side}", "eos_outbox_oldest_seconds{database=side}");

    told.comes_to(&[
        (&lag, 50.0),
        (&position, 0.0),
        (&listener("eos_partitions_owned"), 1.0),
        (waiting, 0.0),
    ])
    .await;
    scene.kafka.produce(&scene.topic, &records(&["one"; 20])).await;
    told.comes_to(&[(&lag, 70.0), (oldest, 0.0)]).await;
    GATE.store(true, Ordering::Relaxed);
    told.comes_to(&[(&lag, 0.0), (&position, 70.0), (waiting, 70.0)]).await;
    let age = told.gauge(oldest).expect("it is told");
    eventually("the oldest entry grows older", PATIENCE, async || match told.gauge(oldest) {
        Some(older) if age > 0.0 && older > age + 1.0 => Ok(()),
        other => Err(format!("{other:?} after {age}")),
    })
    .await;
    assert_eq!(told.durations("eos_handler_seconds{listener=gated}").len(), 70, "each of so few is timed");

    DOWN.store(true, Ordering::Relaxed);
    scene.kafka.produce(&scene.topic, &records(&["one"])).await;
    told.comes_to(&[(&listener("eos_listener_outage"), 1.0), (&lag, 1.0)]).await;
    DOWN.store(false, Ordering::Relaxed);
    told.comes_to(&[(&listener("eos_listener_outage"), 0.0), (&lag, 0.0)]).await;

    scene.database.execute("update eos_position set owner = gen_random_uuid(), epoch = epoch + 1").await;
    scene.kafka.produce(&scene.topic, &records(&["one"])).await;
    told.comes_to(&[(&position, 72.0)]).await;
    let counted = told.counted("gated");
    assert_eq!(counted[&listener("eos_partitions_fenced_total")], 1);
    assert_eq!(counted[&listener("eos_partitions_taken_total")], 2);

    scene.kafka.produce(&scene.topic, &records(&["never", "one", "one"])).await;
    told.comes_to(&[(&listener("eos_partitions_stopped"), 1.0), (&lag, 3.0), (&position, 72.0)]).await;
    drop(stop);
    service.await.expect("no panic").expect("it stops");
    told.comes_to(&[(&lag, 0.0), (&position, 0.0), (&listener("eos_partitions_owned"), 0.0)]).await;

    // The relay of another process publishes it; what is not there is made for it.
    scene.database.execute(&format!("update eos_outbox set topic = '{out}'")).await;
    scene.kafka.create_topic(&out, 1, &[]).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let relay = relay().settings_from(file).shutdown(async { drop(stopped.await) });
    let relay = tokio::spawn(relay.run());
    told.comes_to(&[(waiting, 0.0), (oldest, 0.0)]).await;
    let latencies = told.durations("eos_outbox_latency_seconds{database=side}");
    assert!((2..=72).contains(&latencies.len()), "{latencies:?}");
    assert!(latencies.iter().all(|latency| *latency > 1.0 && *latency < 300.0), "{latencies:?}");
    drop(stop);
    relay.await.expect("no panic").expect("it stops");
    scene.kafka.delete_topic(&out).await;
}

/// Nothing is asked of it but its settings and the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_of_the_programs_own_is_shown_where_it_says_how() {
    recorder();
    let scene = Scene::new(Kind::Postgres, 1, "none").await;
    for shows in [false, true] {
        let address = free_address();
        let settings = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n[databases.shown]\nurl = \"{}\"\n[admin]\nlisten = \"{address}\"\n",
            servers().kafka,
            scene.database.url()
        );
        let file = scene.folder().join("eos.toml");
        std::fs::write(&file, settings).expect("the settings are written");
        let (stop, stopped) = oneshot::channel::<()>();
        let relay = relay().settings_from(file).shutdown(async { drop(stopped.await) });
        let relay = if shows { relay.prometheus(|| "mine 1\n".to_owned()) } else { relay };
        let relay = tokio::spawn(relay.run());
        let admin = Admin::at(&address);
        admin.readiness(200, &["ok"]).await;
        let answer = admin.get("/metrics").await.expect("it answers");
        match shows {
            true => assert_eq!((answer.status, answer.text.as_str()), (200, "mine 1\n")),
            false => assert!(answer.status == 404 && answer.text.contains("`app().prometheus"), "{answer:?}"),
        }
        drop(stop);
        relay.await.expect("no panic").expect("it stops");
    }
}

fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("an address").to_string()
}

/// The one recorder of this process; the tests' listeners and databases have names of their own.
fn recorder() -> Told {
    static RECORDER: OnceLock<Told> = OnceLock::new();
    let told = RECORDER.get_or_init(|| {
        let told = Told::default();
        metrics::set_global_recorder(told.clone()).expect("the first");
        told
    });
    told.clone()
}

/// A recorder that keeps what it is told.
#[derive(Debug, Clone, Default)]
struct Told {
    counters: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
    gauges: Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>,
    histograms: Arc<Mutex<BTreeMap<String, Arc<Durations>>>>,
}

#[derive(Debug, Default)]
struct Durations(Mutex<Vec<f64>>);

impl HistogramFn for Durations {
    fn record(&self, value: f64) {
        self.0.lock().expect("no panic").push(value);
    }
}

impl Told {
    /// The counters of a listener, and of the default database where there is a relay.
    fn counted(&self, listener: &str) -> BTreeMap<String, u64> {
        let counters = self.counters.lock().expect("no panic");
        let ours = |name: &str| {
            let silent = name.ends_with("{change=lost}") || name.ends_with("{change=revoked}");
            (name.contains(&format!("{{listener={listener}}}")) && !silent)
                || name.ends_with("{database=default}")
        };
        counters
            .iter()
            .filter(|(name, _)| ours(name))
            .map(|(name, counter)| (name.clone(), counter.load(Ordering::Relaxed)))
            .collect()
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        let gauges = self.gauges.lock().expect("no panic");
        gauges.get(name).map(|gauge| f64::from_bits(gauge.load(Ordering::Relaxed)))
    }

    fn durations(&self, name: &str) -> Vec<f64> {
        let histograms = self.histograms.lock().expect("no panic");
        histograms.get(name).map(|told| told.0.lock().expect("no panic").clone()).unwrap_or_default()
    }

    /// Waits until these gauges have these values, all at the same time.
    async fn comes_to(&self, wanted: &[(&str, f64)]) {
        eventually(&format!("the gauges come to {wanted:?}"), PATIENCE, async || {
            let now: Vec<_> = wanted.iter().map(|(name, _)| self.gauge(name)).collect();
            let reached = wanted.iter().zip(&now).all(|((_, wanted), now)| *now == Some(*wanted));
            if reached { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    }
}

/// A name with its labels.
fn full_name(key: &MetricKey) -> String {
    let labels: Vec<String> =
        key.labels().map(|label| format!("{{{}={}}}", label.key(), label.value())).collect();
    format!("{}{}", key.name(), labels.concat())
}

impl Recorder for Told {
    fn describe_counter(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_gauge(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_histogram(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn register_counter(&self, key: &MetricKey, _metadata: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().expect("no panic");
        Counter::from_arc(Arc::clone(counters.entry(full_name(key)).or_default()))
    }

    fn register_gauge(&self, key: &MetricKey, _metadata: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().expect("no panic");
        Gauge::from_arc(Arc::clone(gauges.entry(full_name(key)).or_default()))
    }

    fn register_histogram(&self, key: &MetricKey, _metadata: &Metadata<'_>) -> Histogram {
        let mut histograms = self.histograms.lock().expect("no panic");
        Histogram::from_arc(Arc::clone(histograms.entry(full_name(key)).or_default()))
    }
}
