//! The counters that a recorder is told, of a service in the test's own process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use eos_runtime::app;
use eos_runtime::prelude::*;
use eos_tests::{Kind, PATIENCE, Scene, Sent, eventually, servers};
use metrics::{Counter, Gauge, Histogram, Key as MetricKey, KeyName, Metadata, Recorder, SharedString, Unit};
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
    let told = Told::default();
    metrics::set_global_recorder(told.clone()).expect("the first");
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
    let service = app().settings_from(file).shutdown(async { drop(stopped.await) });
    let service = tokio::spawn(service.run());
    let listener = |name: &str| format!("{name}{{listener=notes}}");
    let wanted = BTreeMap::from([
        (listener("eos_records_applied_total"), 4),
        (listener("eos_records_duplicate_total"), 1),
        (listener("eos_records_without_id_total"), 1),
        (listener("eos_attempts_failed_total"), 2),
        (listener("eos_records_set_aside_total"), 1),
        (listener("eos_records_replayed_total"), 0),
        ("eos_outbox_published_total{database=default}".to_owned(), 3),
        ("eos_outbox_refused_total{database=default}".to_owned(), 1),
    ]);
    eventually("all of it is counted", PATIENCE, async || {
        let counted = told.counted();
        if counted == wanted { Ok(()) } else { Err(format!("{counted:?}")) }
    })
    .await;
    drop(stop);
    service.await.expect("no panic").expect("it stops");
    assert_eq!(told.counted(), wanted, "and nothing twice");
    scene.kafka.delete_topic(&noted).await;
}

/// A recorder that keeps what it is told.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Told {
    fn counted(&self) -> BTreeMap<String, u64> {
        let counters = self.0.lock().expect("no panic");
        counters.iter().map(|(name, counter)| (name.clone(), counter.load(Ordering::Relaxed))).collect()
    }
}

impl Recorder for Told {
    fn describe_counter(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_gauge(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn describe_histogram(&self, _name: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn register_counter(&self, key: &MetricKey, _metadata: &Metadata<'_>) -> Counter {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{{{}={}}}", label.key(), label.value())).collect();
        let name = format!("{}{}", key.name(), labels.concat());
        let counter = Arc::clone(self.0.lock().expect("no panic").entry(name).or_default());
        Counter::from_arc(counter)
    }

    fn register_gauge(&self, _key: &MetricKey, _metadata: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _key: &MetricKey, _metadata: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
