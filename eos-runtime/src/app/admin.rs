//! The admin server of an application: its door is taken with the plan, and what it can see is filled in when all runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::builder::{App, DoorIs};
use super::open::Opened;
use super::plan::Plan;
use super::serve::Runs;
use crate::admin::{
    Admin, DatabaseShown, Door, ListenerSettings, ListenerShown, Page, Render, RetrySettings, Running, View,
};
use crate::dead_letters::{DeadLetters, Marks};
use crate::error::Error;
use crate::kafka::Consumer;
use crate::listener::resolved::{DeadLetters as Kept, Listener, Promise};
use crate::listener::spec::{Dedupe, OnFailure};
use crate::settings::{Found, Settings};

/// What the plan has of it.
#[derive(Debug)]
pub(super) struct Planned {
    door: Door,
    render: Option<Rendered>,
}

/// The server, and what it sees.
#[derive(Debug)]
pub(super) struct Served {
    admin: Admin,
    view: Arc<View>,
}

/// The program's own text, which has no Debug.
struct Rendered(Render);

impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rendered")
    }
}

impl Planned {
    /// Takes the address, where one is set; that it cannot be had is a mistake like the others.
    pub(super) fn make(app: &mut App, settings: &Settings, found: &Found) -> Option<Self> {
        let admin = settings.admin.as_ref().filter(|_| app.door == DoorIs::Open)?;
        let door = Door::open(admin).map_err(|why| found.add(why)).ok()?;
        Some(Planned { door, render: app.prometheus.take().map(Rendered) })
    }
}

/// Serves what the plan says, from before anything else is started.
///
/// # Errors
/// The runtime cannot wait for connections.
pub(super) fn serve(plan: &mut Plan, stop: &CancellationToken) -> Result<Option<Served>, Error> {
    let (Some(planned), Some(settings)) = (plan.admin.take(), plan.settings.admin.clone()) else {
        return Ok(None);
    };
    let view = Arc::new(View::new(stop.clone(), settings.stuck_after));
    let page = Page::of(planned.render.map(|Rendered(render)| render));
    let admin = planned.door.serve(Arc::clone(&view), settings, page);
    Ok(Some(Served { admin: admin.map_err(Error::Admin)?, view }))
}

/// Ends it, with the answers that are being written.
pub(super) async fn end(served: Option<Served>) {
    if let Some(Served { admin, .. }) = served {
        admin.end().await;
    }
}

/// Everything runs: this is what there is to see.
pub(super) fn show(served: Option<&Served>, runs: &Runs<'_>) {
    let Some(Served { view, .. }) = served else { return };
    let &Runs { plan, works, databases, consumers, cluster } = runs;
    let listeners = plan.listeners.iter().zip(works).map(|(listener, work)| ListenerShown {
        settings: settings_of(plan, listener),
        work: Arc::clone(work),
    });
    let databases = plan.databases.iter().zip(databases).map(|(planned, opened)| DatabaseShown {
        name: planned.name.clone(),
        sounding: Arc::clone(&planned.sounding),
        letters: letters_of(opened),
    });
    let ids = plan.listeners.iter().flat_map(|listener| (0..listener.concurrency).map(|_| listener.id));
    view.fill(Running {
        listeners: listeners.collect(),
        databases: databases.collect(),
        brokers: cluster.reach(),
        pulses: ids.zip(consumers.iter().map(Consumer::pulse)).collect(),
    });
}

fn letters_of(opened: &Opened) -> Arc<dyn Marks> {
    match opened {
        #[cfg(feature = "postgres")]
        Opened::Postgres(bound) => Arc::new(DeadLetters::on(&bound.store)),
        #[cfg(feature = "mysql")]
        Opened::MySql(bound) => Arc::new(DeadLetters::on(&bound.store)),
        #[cfg(feature = "sqlite")]
        Opened::Sqlite(bound) => Arc::new(DeadLetters::on(&bound.store)),
    }
}

fn settings_of(plan: &Plan, listener: &Listener) -> ListenerSettings {
    let in_words = |duration| humantime::format_duration(duration).to_string();
    let retry = &listener.retry;
    let mut settings = ListenerSettings {
        id: listener.id,
        topics: listener.topics.clone(),
        group: Arc::clone(&listener.group),
        mode: listener.promise.name(),
        database: None,
        isolation: None,
        dedupe: None,
        group_commit: None,
        max_wait: None,
        key_slots: None,
        concurrency: listener.concurrency,
        concurrency_per_partition: listener.concurrency_per_partition,
        deadline: in_words(listener.deadline),
        retry: RetrySettings {
            max: retry.max,
            backoff: in_words(retry.backoff),
            factor: retry.factor,
            max_backoff: in_words(retry.max_backoff),
            jitter: retry.jitter,
        },
        on_failure: match listener.on_failure {
            OnFailure::Block => "block",
            OnFailure::Park => "park",
        },
        dead_letter: match listener.dead_letters {
            Kept::Off => "off",
            Kept::Table => "table",
            Kept::TableAndTopic(_) => "table and topic",
            Kept::Topic(_) => "topic",
        },
    };
    if let Promise::Transactional {
        database,
        isolation,
        dedupe,
        group_commit,
        max_wait,
        key_slots,
        body: _,
    } = &listener.promise
    {
        settings.database = Some(plan.databases[database.0].name.clone());
        settings.isolation = Some(isolation.name());
        settings.dedupe = Some(match dedupe {
            Dedupe::MessageId => "message id",
            Dedupe::Position => "position",
        });
        settings.group_commit = Some(*group_commit);
        settings.max_wait = Some(in_words(*max_wait));
        settings.key_slots = Some(*key_slots);
    }
    settings
}
