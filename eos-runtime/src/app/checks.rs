//! What can be known about names and sets of listeners before anything is connected.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::databases::PlannedDatabase;
use crate::consumer::Seats;
use crate::listener::resolved::{Listener, Promise};
use crate::listener::spec::{ListenerSpec, Mode};
use crate::settings::{DatabaseKind, Found};

/// Why Kafka would not take this topic's name.
/// Source: <https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/internals/Topic.java>.
pub(super) fn topic_objection(topic: &str) -> Option<&'static str> {
    match topic {
        "" => Some("it is empty"),
        "." | ".." => Some("`.` and `..` are no names"),
        topic if topic.len() > 249 => Some("it has more than 249 characters"),
        topic if !topic.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) => {
            Some("a topic's name has letters, digits, `.`, `_` and `-` only")
        }
        _ => None,
    }
}

/// Why this group's name will not do.
pub(super) fn group_objection(group: &str) -> Option<&'static str> {
    match group {
        group if group.trim().is_empty() => Some("it is empty"),
        group if group.len() > 255 => Some("it has more than 255 bytes"),
        group if group.contains(char::is_control) => Some("it has control characters"),
        _ => None,
    }
}

/// How many keys of a partition a listener handles side by side, which not every one may.
pub(super) fn per_partition(spec: &ListenerSpec, over: Option<u16>, found: &Found) -> Option<u16> {
    let hands = over.unwrap_or(spec.concurrency_per_partition);
    match spec.mode {
        Mode::Plain | Mode::Idempotent(_) => Some(hands),
        Mode::Transactional(_) | Mode::ExactlyOnce(_) | Mode::AtMostOnce(_) if hands == 1 => Some(hands),
        Mode::Transactional(_) | Mode::ExactlyOnce(_) | Mode::AtMostOnce(_) => {
            found.add(format!(
                "listener `{}`: `concurrency_per_partition` is for listeners that are plain or `idempotent`; take it away",
                spec.id
            ));
            None
        }
    }
}

/// Only a position can be split into slots.
pub(super) fn slots_have_a_position(spec: &ListenerSpec, over: Option<u16>, found: &Found) {
    if over.is_some() && !matches!(spec.mode, Mode::Transactional(_)) {
        found.add(format!(
            "listener `{}`: `key_slots` is for one that is `transactional`; take it out of `[listeners.\"{}\"]`",
            spec.id, spec.id
        ));
    }
}

/// In one group a topic has one listener.
pub(super) fn one_listener_a_topic(listeners: &[Listener], found: &Found) {
    let mut claims: BTreeMap<(&Arc<str>, &Arc<str>), &'static str> = BTreeMap::new();
    for listener in listeners {
        for topic in &listener.topics {
            match claims.insert((&listener.group, topic), listener.id) {
                Some(other) if other == listener.id => {
                    found.add(format!("listener `{}` names the topic `{topic}` twice", listener.id));
                }
                Some(other) => found.add(format!(
                    "topic `{topic}` is claimed by `{other}` and `{}` in group `{}`; each would see half of it. \
                     give one of them `group = \"…\"`",
                    listener.id, listener.group
                )),
                None => {}
            }
        }
    }
}

/// What is odd about slots that gain nothing.
pub(super) fn slots_remark(listener: &Listener, databases: &[PlannedDatabase]) -> Option<String> {
    let Promise::Transactional { database, key_slots, .. } = listener.promise else { return None };
    let (id, database) = (listener.id, &databases[database.0]);
    let seats = Seats::among(database.for_attempts());
    if key_slots > 1 && database.target.kind() == DatabaseKind::Sqlite {
        return Some(format!(
            "listener `{id}`: `key_slots = {key_slots}` gains nothing on SQLite, which has one writer at a time"
        ));
    }
    (usize::from(key_slots) > seats).then(|| {
        format!(
            "listener `{id}`: `key_slots = {key_slots}`, but the database `{}` has connections for {seats} attempts at a time; set \
             `max_connections` to {} or more (each partition in flight has its slots)",
            database.name,
            database.max_connections as usize + usize::from(key_slots) - seats
        )
    })
}
