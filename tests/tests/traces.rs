//! Handlers run in spans that go on with the traces of their records, by OpenTelemetry's names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use eos_runtime::prelude::*;
use eos_runtime::{Batch, app};
use eos_tests::{Kind, PATIENCE, Scene, Sent, eventually, servers};
use opentelemetry::trace::{SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tokio::sync::oneshot;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const WRITER: &str = "00f067aa0ba902b7";

static FAILED: AtomicBool = AtomicBool::new(false);

#[kafka_listener(id = "traced", topic = "${app.topic}", transactional)]
async fn on_one(tx: &mut PgTx, Json(text): Json<String>) -> HandlerResult {
    if text == "fails once" && !FAILED.swap(true, Ordering::Relaxed) {
        return Err(HandlerError::again("it is the first time"));
    }
    tx.publish_to("traced.out", "key", text, Headers::default()).await?;
    Ok(())
}

#[kafka_listener(
    id = "traced_in_batches",
    topic = "${app.topic}",
    group = "${app.batches}",
    transactional,
    max_wait = "2s"
)]
async fn on_many(_tx: &mut PgTx, _texts: Batch<Json<String>>) -> HandlerResult {
    tokio::task::yield_now().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handlers_span_goes_on_with_the_trace_of_its_record() {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("eos"));
    tracing_subscriber::registry().with(tracing_subscriber::EnvFilter::new("info")).with(layer).init();

    let scene = Scene::new(Kind::Postgres, 1, "none").await;
    let traceparent = format!("00-{TRACE}-{WRITER}-01");
    let sent = |text: Option<&str>, id: &str, key: Option<&str>| Sent {
        key: key.map(|key| key.as_bytes().to_vec()),
        payload: text.map(|text| serde_json::to_vec(text).expect("JSON")),
        headers: vec![
            ("message-id".to_owned(), Some(id.as_bytes().to_vec())),
            ("traceparent".to_owned(), Some(traceparent.clone().into_bytes())),
        ],
        ..Sent::default()
    };
    let records = [sent(Some("fails once"), "a", Some("customer-7")), sent(Some("fine"), "b", None)];
    scene.kafka.produce(&scene.topic, &records).await;
    let settings = format!(
        "[kafka]\nbootstrap_servers = \"{}\"\ngroup = \"{group}\"\n[database]\nurl = \"{}\"\n[outbox]\nrelay = \"off\"\n\
         [retry]\nbackoff = \"10ms\"\n[app]\ntopic = \"{}\"\nbatches = \"{group}.batches\"\n",
        servers().kafka,
        scene.database.url(),
        scene.topic,
        group = scene.group,
    );
    let file = scene.folder().join("eos.toml");
    std::fs::write(&file, settings).expect("the settings are written");
    let (stop, stopped) = oneshot::channel::<()>();
    let service = app()
        .listeners(["traced", "traced_in_batches"])
        .settings_from(file)
        .shutdown(async { drop(stopped.await) });
    let service = tokio::spawn(service.run());
    let spans = eventually("four spans have ended", PATIENCE, async || {
        let spans = exporter.get_finished_spans().unwrap_or_default();
        if spans.len() >= 4 { Ok(spans) } else { Err(format!("{} have", spans.len())) }
    })
    .await;

    let of = |listener: &str| -> Vec<&SpanData> {
        let mut of = spans.iter().filter(|span| said(span)["eos.listener"] == listener).collect::<Vec<_>>();
        of.sort_by_key(|span| span.start_time);
        of
    };
    let [failed, again, fine] = of("traced")[..] else { panic!("three: {:?}", of("traced")) };
    for span in [failed, again, fine] {
        assert_eq!(span.name, format!("process {}", scene.topic));
        assert_eq!(span.span_kind, SpanKind::Consumer);
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        assert_eq!(span.parent_span_id.to_string(), WRITER);
        assert!(span.parent_span_is_remote);
    }
    let of_all = [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &scene.topic),
        ("messaging.destination.partition.id", "0"),
        ("messaging.consumer.group.name", &scene.group),
        ("eos.listener", "traced"),
    ];
    let first = [("messaging.kafka.offset", "0"), ("messaging.message.id", "a")];
    let key = ("messaging.kafka.message.key", "acade5fe58d0");
    holds(failed, &[&of_all[..], &first, &[key, ("eos.attempt", "1"), ("error.type", "failed")]].concat());
    holds(again, &[&of_all[..], &first, &[key, ("eos.attempt", "2")]].concat());
    holds(fine, &[&of_all[..], &[("messaging.kafka.offset", "1"), ("messaging.message.id", "b")]].concat());
    assert!(matches!(failed.status, Status::Error { .. }) && again.status == Status::Unset);
    assert!(!said(fine).contains_key("messaging.kafka.message.key"), "a record without a key has none");

    // A batch has many parents: it is linked to all of them.
    let [batch] = of("traced_in_batches")[..] else { panic!("one: {:?}", of("traced_in_batches")) };
    holds(batch, &[("messaging.batch.message_count", "2")]);
    let links: Vec<String> = batch.links.iter().map(|link| link.span_context.span_id().to_string()).collect();
    assert_eq!(links, [WRITER, WRITER]);

    // What a handler publishes goes on with its span.
    for span in [again, fine] {
        let header = format!("00-{TRACE}-{}-01", span.span_context.span_id());
        let sql = format!("select count(*) from eos_outbox where headers like '%{header}%'");
        assert_eq!(scene.database.number(&sql).await.expect("a number"), 1, "{header}");
    }
    drop(stop);
    service.await.expect("no panic").expect("it stops");
}

fn said(span: &SpanData) -> BTreeMap<String, String> {
    span.attributes.iter().map(|said| (said.key.to_string(), said.value.to_string())).collect()
}

fn holds(span: &SpanData, wanted: &[(&str, &str)]) {
    let said = said(span);
    for (name, value) in wanted {
        assert_eq!(said.get(*name).map(String::as_str), Some(*value), "{name} of {said:?}");
    }
}
