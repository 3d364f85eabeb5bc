//! `/metrics`: the recorder is ours where the program has installed none; one of the program's own is asked by the function that
//! it gives.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Desk;

/// Bounds of the buckets of durations: from what a handler takes that does nothing to what nobody waits for.
const SECONDS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

/// How often what was told is sorted into the buckets, so that it does not gather where nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// Prometheus' text, of a recorder that is the program's own.
pub(crate) type Render = Box<dyn Fn() -> String + Send + Sync>;

/// Where the text comes from.
pub(crate) enum Page {
    Ours(PrometheusHandle),
    Theirs(Render),
    /// The program has installed a recorder, and does not say how to ask it.
    Unknown,
}

impl Page {
    /// Installs our recorder, unless the program has one.
    pub(crate) fn of(theirs: Option<Render>) -> Self {
        /// The one that this process has, however many applications run in it.
        static OURS: OnceLock<PrometheusHandle> = OnceLock::new();
        if let Some(theirs) = theirs {
            return Page::Theirs(theirs);
        }
        if let Some(ours) = OURS.get() {
            return Page::Ours(ours.clone());
        }
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS);
        let recorder = builder.unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        match metrics::set_global_recorder(recorder) {
            Ok(()) => Page::Ours(OURS.get_or_init(|| handle).clone()),
            Err(_taken) => Page::Unknown,
        }
    }

    /// Looks after our recorder, for ever.
    pub(super) async fn keep(&self) {
        let Page::Ours(ours) = self else { return std::future::pending().await };
        loop {
            tokio::time::sleep(UPKEEP).await;
            ours.run_upkeep();
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Page::Ours(_) => "Ours",
            Page::Theirs(_) => "Theirs",
            Page::Unknown => "Unknown",
        })
    }
}

/// Prometheus' text.
pub(super) async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let text = match &desk.page {
        Page::Ours(ours) => ours.render(),
        Page::Theirs(theirs) => theirs(),
        Page::Unknown => {
            let why = "this program has installed a metrics recorder of its own, which has its own way out; \
                       `app().prometheus(|| …)` shows its text here\n";
            return (StatusCode::NOT_FOUND, why).into_response();
        }
    };
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
