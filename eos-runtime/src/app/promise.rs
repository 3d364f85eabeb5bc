//! What a listener promises, resolved: its mode, with the database, the Redis or the topic that it needs for it.

use super::checks;
use super::databases::Asks;
use super::resolve::Making;
use crate::kafka_tx::KafkaTx;
use crate::listener::resolved::{Idempotent, Medium, Promise};
use crate::listener::spec::{
    self, Body, ExactlyOnce, ListenerSpec, Mode, PlainHandler, Transactional, TxHandler,
};
use crate::settings::{DatabaseKind, ListenerOverride};

impl Making<'_> {
    pub(super) fn promise(
        &mut self,
        spec: &ListenerSpec,
        over: Option<&ListenerOverride>,
    ) -> Option<Promise> {
        let slots_asked = over.and_then(|over| over.key_slots);
        checks::slots_have_a_position(spec, slots_asked, self.found);
        let body = (spec.body)();
        let transactional = match (spec.mode, body) {
            (Mode::Plain, Body::Plain(handler)) => return Some(Promise::Plain(handler)),
            (Mode::AtMostOnce(at_once), Body::Plain(handler)) => {
                return Some(Promise::AtMostOnce(at_once, handler));
            }
            (Mode::ExactlyOnce(exactly_once), Body::Kafka(handler)) => {
                return self.exactly_once(spec, exactly_once, handler);
            }
            (Mode::Idempotent(options), Body::Plain(handler)) => {
                return self.idempotent(spec, options, handler);
            }
            (Mode::Transactional(transactional), _) => transactional,
            // The attribute lets nobody write this.
            (Mode::Plain | Mode::AtMostOnce(_) | Mode::ExactlyOnce(_) | Mode::Idempotent(_), _) => {
                self.found.add(format!("listener `{}` takes a transaction without `transactional`", spec.id));
                return None;
            }
        };
        let database = self.databases.find(spec.id, Asks::Transactional, transactional.database)?;
        let Some((kind, parameter)) = kind_of(body) else {
            self.found.add(format!("listener `{}` is `transactional` and takes no transaction", spec.id));
            return None;
        };
        let actual = self.databases.kind(database);
        if kind != actual {
            self.found.add(format!(
                "listener `{}` takes a {kind} transaction (`&mut {parameter}`), but the database `{}` is {actual}; \
                 change the one or the other",
                spec.id,
                self.databases.name(database)
            ));
            return None;
        }
        let Transactional { isolation, dedupe, group_commit, max_wait, key_slots, database: _ } =
            transactional;
        let key_slots = slots_asked.unwrap_or(key_slots);
        Some(Promise::Transactional { database, isolation, dedupe, group_commit, max_wait, key_slots, body })
    }

    /// Ids are remembered in Redis, or in a database's inbox.
    fn idempotent(
        &mut self,
        spec: &ListenerSpec,
        options: spec::Idempotent,
        handler: PlainHandler,
    ) -> Option<Promise> {
        let spec::Idempotent { medium, id, lease, on_outage } = options;
        let medium = match medium {
            spec::Medium::Redis { ttl } => Medium::Redis { ttl },
            spec::Medium::Database(name) => {
                let database = self.databases.find(spec.id, Asks::Idempotent, name)?;
                self.databases.has_claims(database);
                Medium::Database(database)
            }
        };
        Some(Promise::Idempotent(handler, Idempotent { medium, id, lease, on_outage }))
    }

    /// The topic that the listener returns to is known before it returns anything.
    fn exactly_once(
        &mut self,
        spec: &ListenerSpec,
        exactly_once: ExactlyOnce,
        handler: TxHandler<KafkaTx>,
    ) -> Option<Promise> {
        let ExactlyOnce { commit_interval, commit_records, message_id, to } = exactly_once;
        if self
            .settings
            .kafka
            .properties
            .iter()
            .any(|(name, value)| name == "isolation.level" && value != "read_committed")
        {
            self.found.add(format!(
                "listener `{}` is `exactly_once`, and reads committed records alone; take `isolation.level` out of \
                 `[kafka.properties]`",
                spec.id
            ));
        }
        if let Some(to) = to {
            self.topic(spec, to)?;
        }
        Some(Promise::ExactlyOnce { commit_interval, commit_records, message_id, handler })
    }
}

/// Which database a body's transaction belongs to, and the parameter's type.
fn kind_of(body: Body) -> Option<(DatabaseKind, &'static str)> {
    match body {
        Body::Plain(_) | Body::Kafka(_) => None,
        #[cfg(feature = "postgres")]
        Body::Postgres(_) => Some((DatabaseKind::Postgres, "PgTx")),
        #[cfg(feature = "mysql")]
        Body::MySql(_) => Some((DatabaseKind::MySql, "MySqlTx")),
        #[cfg(feature = "sqlite")]
        Body::Sqlite(_) => Some((DatabaseKind::Sqlite, "SqliteTx")),
    }
}
