//! One record through one listener of the application: what `testing::deliver` runs.
//!
//! The plan is made as for `run()`, of the one listener, with nothing asked of Kafka.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::builder::App;
use super::open::{Caretaking, Opened, open};
use super::plan::Plan;
use super::serve::works;
use crate::consumer::Work;
use crate::consumer::once::{self, Once};
use crate::error::BoxError;
use crate::listener::resolved::Promise;
use crate::listener::spec::{Body, ListenerSpec};
use crate::record::Record;
use crate::settings::Environment;
use crate::testing::{DeliverError, Delivered};

/// What a test's listener has of Kafka where the settings say nothing: a group, and no broker that is asked.
const INSTEAD: [(&str, &str); 2] =
    [("EOS_KAFKA_GROUP", "tests"), ("EOS_KAFKA_BOOTSTRAP_SERVERS", "embedded")];

impl App {
    pub(crate) async fn deliver(
        self,
        listener: Option<String>,
        record: Record,
    ) -> Result<Delivered, DeliverError> {
        let spec = find(listener.as_deref(), record.topic()).map_err(DeliverError::Setup)?;
        let given = std::env::vars_os();
        let instead = INSTEAD.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
        let environment =
            Environment::of(given.chain(instead.map(|(name, value)| (name.into(), value.into()))));
        let setup = |error: crate::Error| DeliverError::Setup(error.into());
        let mut plan = Plan::make(self, vec![spec], &environment).map_err(setup)?;
        // A group of its own: a test must not move the positions of a service that uses the same database.
        for listener in &mut plan.listeners {
            listener.group = format!("testing:{}", listener.group).into();
        }

        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let _ended_with_this = stop.clone().drop_guard();
        let care = Caretaking { tasks: &tasks, stop: stop.clone(), retention: plan.settings.inbox.retention };
        let mut opened = Vec::new();
        for planned in &plan.databases {
            opened.push(open(planned, &care).await.map_err(setup)?);
        }
        let work = works(&plan, &opened, None, None).remove(0);
        let outcome = through(&plan.listeners[0].promise, &work, &opened, record).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        for database in &opened {
            database.close().await;
        }
        match outcome.map_err(DeliverError::Failed)? {
            Once::Applied => Ok(Delivered::Applied),
            Once::Duplicate => Ok(Delivered::Duplicate),
        }
    }
}

async fn through(
    promise: &Promise,
    work: &Arc<Work>,
    opened: &[Opened],
    record: Record,
) -> Result<Once, BoxError> {
    match promise {
        Promise::Plain(handler) | Promise::AtMostOnce(_, handler) | Promise::Idempotent(handler, _) => {
            once::plain(work, *handler, &record).await
        }
        Promise::ExactlyOnce { handler, .. } => once::exactly_once(work, *handler, &record).await,
        Promise::Transactional { database, body, .. } => match (&opened[database.0], *body) {
            #[cfg(feature = "postgres")]
            (Opened::Postgres(bound), Body::Postgres(handler)) => {
                once::transactional(work, &bound.store, handler, record).await
            }
            #[cfg(feature = "mysql")]
            (Opened::MySql(bound), Body::MySql(handler)) => {
                once::transactional(work, &bound.store, handler, record).await
            }
            #[cfg(feature = "sqlite")]
            (Opened::Sqlite(bound), Body::Sqlite(handler)) => {
                once::transactional(work, &bound.store, handler, record).await
            }
            (opened, body) => unreachable!("the plan matched {body:?} with {opened:?}"),
        },
    }
}

/// The listener that is meant, by its id or by the record's topic.
fn find(id: Option<&str>, topic: &str) -> Result<&'static ListenerSpec, BoxError> {
    let linked = || inventory::iter::<ListenerSpec>();
    if let Some(id) = id {
        return linked()
            .find(|spec| spec.id == id)
            .ok_or_else(|| format!("there is no listener `{id}`").into());
    }
    let mut of_topic = linked().filter(|spec| spec.topics.contains(&topic));
    match (of_topic.next(), of_topic.next()) {
        (Some(spec), None) => Ok(spec),
        (Some(one), Some(other)) => Err(format!(
            "the topic `{topic}` has several listeners, as `{}` and `{}`; say which by `.listener(\"…\")`",
            one.id, other.id
        )
        .into()),
        (None, _) => Err(format!(
            "no listener has the topic `{topic}`; name one by `.listener(\"…\")` if its topic has placeholders"
        )
        .into()),
    }
}
