//! `eos positions reset`: a stopped group is sent elsewhere in its topics.
//!
//! Everything is looked up and checked before anything is changed; a topic's positions are changed together.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, bail, ensure};
use eos_runtime::positions::{MoveError, Position, Positions, Reset};
use eos_runtime::tools::Kafka;
use serde_json::{Value, json};

use crate::arguments::{self, Goal};
use crate::brokers::{self, trouble};
use crate::database::{Database, on_database};
use crate::print::{Form, chain, count, line};
use crate::table::{Align, Table};
use crate::{Outcome, Refused};

/// What is to become of one partition.
struct Step {
    partition: i32,
    /// `None` where the group has never been.
    from: Option<i64>,
    to: i64,
}

/// What is to become of each topic.
type Steps = BTreeMap<String, Vec<Step>>;

pub(crate) async fn run(
    database: &Database,
    arguments: &arguments::Reset,
    form: Form,
) -> anyhow::Result<Outcome> {
    let group = arguments.group.as_str();
    let found = on_database!(database, pool => {
        Positions::in_schema(pool, &database.schema).list(Some(group), arguments.topic.as_deref()).await
    });
    let positions = found.map_err(|error| database.trouble(&error))?;
    let kafka = brokers::reach(&arguments.brokers).await?;
    let cluster = kafka.cluster_id().await;
    expect_cluster(&kafka, &positions, cluster.as_deref(), arguments.other_cluster)?;
    let topics = topics(database, arguments, &positions, &kafka).await?;
    let known: Vec<_> = topics.iter().map(|(topic, partitions)| (topic.clone(), *partitions)).collect();
    brokers::expect_stopped(&kafka, group, &known).await?;
    let steps = plan(&kafka, arguments, &positions, &topics).await?;

    let mut forgotten = 0;
    if !arguments.dry_run {
        for (topic, steps) in &steps {
            let mut reset = Reset::to(steps.iter().map(|step| (step.partition, step.to)));
            if let Some(cluster) = &cluster {
                reset = reset.cluster(cluster);
            }
            if arguments.forget_inbox {
                reset = reset.forget_inbox();
            }
            forgotten += apply(database, group, topic, &reset).await?;
        }
    }
    let text = format!("{}\n{}", table(&steps), said(database, arguments, &steps, forgotten));
    form.say(&text, || as_json(arguments, &steps, forgotten))?;
    Ok(Outcome::Done)
}

/// The topics that are meant, with how many partitions each has.
async fn topics(
    database: &Database,
    arguments: &arguments::Reset,
    positions: &[Position],
    kafka: &Kafka,
) -> anyhow::Result<BTreeMap<String, i32>> {
    let names: BTreeSet<&str> = match &arguments.topic {
        Some(topic) => [topic.as_str()].into(),
        None => positions.iter().map(|position| position.topic.as_str()).collect(),
    };
    if names.is_empty() {
        bail!(Refused(format!(
            "group `{}` has no positions ({}); `--topic` names the topic of a group that has never run",
            arguments.group, database.place
        )));
    }
    let mut topics = BTreeMap::new();
    for name in names {
        match kafka.partitions(name).await.map_err(|error| trouble(kafka, &error))? {
            Some(partitions) => topics.insert(name.to_owned(), partitions),
            None => bail!(Refused(format!(
                "there is no topic `{name}` in Kafka at {}, and nothing was changed",
                kafka.servers()
            ))),
        };
    }
    Ok(topics)
}

/// An offset of one cluster means nothing in another.
fn expect_cluster(
    kafka: &Kafka,
    positions: &[Position],
    connected: Option<&str>,
    other_cluster: bool,
) -> anyhow::Result<()> {
    let other = positions.iter().find_map(|position| {
        let stored = position.cluster.as_deref()?;
        connected.is_some_and(|connected| connected != stored).then_some(stored)
    });
    match other {
        Some(stored) if !other_cluster => bail!(Refused(format!(
            "the group's positions speak of the Kafka cluster `{stored}`, and {} leads to `{}`; name the brokers of the first by \
             `--kafka`, or say `--other-cluster` if the service has moved to the other",
            kafka.servers(),
            connected.unwrap_or_default()
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Where each partition goes, once it is known to lie within its log.
async fn plan(
    kafka: &Kafka,
    arguments: &arguments::Reset,
    positions: &[Position],
    topics: &BTreeMap<String, i32>,
) -> anyhow::Result<Steps> {
    let mut steps = Steps::new();
    for (topic, &partitions) in topics {
        let meant = match arguments.partition.as_slice() {
            [] => (0..partitions).collect(),
            some => some.to_vec(),
        };
        if let Some(missing) = meant.iter().find(|partition| **partition >= partitions) {
            let there = count(partitions.unsigned_abs().into(), "partition");
            bail!(Refused(format!("there is no partition {missing} of `{topic}`, which has {there}")));
        }
        let here = steps.entry(topic.clone()).or_default();
        for partition in BTreeSet::from_iter(meant) {
            let to = offset(kafka, &arguments.to, topic, partition).await?;
            let is_it = |position: &&Position| position.topic == *topic && position.partition == partition;
            let from = positions.iter().find(is_it).map(|position| position.next_offset);
            here.push(Step { partition, from, to });
        }
    }
    Ok(steps)
}

/// The offset that is meant in one partition.
async fn offset(kafka: &Kafka, goal: &Goal, topic: &str, partition: i32) -> anyhow::Result<i64> {
    let trouble = |error| trouble(kafka, &error);
    let (low, high) = kafka.watermarks(topic, partition).await.map_err(trouble)?;
    match goal {
        Goal::Beginning => Ok(low),
        Goal::End => Ok(high),
        Goal::Time(time) => kafka.offset_at(topic, partition, *time).await.map_err(trouble),
        Goal::Offset(offset) => {
            ensure!(
                (low..=high).contains(offset),
                "{offset} is outside of the log of partition {partition} of `{topic}`, which begins at {low} and ends at {high}; \
                 nothing was changed"
            );
            Ok(*offset)
        }
    }
}

/// Moves one topic's positions; how many ids were forgotten.
async fn apply(database: &Database, group: &str, topic: &str, reset: &Reset) -> anyhow::Result<u64> {
    let done = on_database!(database, pool => {
        Positions::in_schema(pool, &database.schema).reset(group, topic, reset).await
    });
    Ok(done.map_err(|error| failed(database, &error))?.forgotten)
}

/// Why positions were not moved, with where.
pub(crate) fn failed(database: &Database, error: &MoveError) -> anyhow::Error {
    match error {
        MoveError::Taken { .. } | MoveError::Occupied { .. } => {
            anyhow!(Refused(format!("{error} ({})", database.place)))
        }
        MoveError::Database(_) | MoveError::Held { .. } | _ => {
            anyhow!("{}: {}", database.place, chain(error))
        }
    }
}

fn table(steps: &Steps) -> String {
    let mut table = Table::new([
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("FROM", Align::Right),
        ("TO", Align::Right),
        ("BY", Align::Right),
    ]);
    for (topic, steps) in steps {
        for step in steps {
            table.row([
                line(topic, 60),
                step.partition.to_string(),
                step.from.map_or_else(|| "–".to_owned(), |from| from.to_string()),
                step.to.to_string(),
                step.from.map_or_else(|| "–".to_owned(), |from| format!("{:+}", step.to - from)),
            ]);
        }
    }
    table.text()
}

/// What follows.
fn said(database: &Database, arguments: &arguments::Reset, steps: &Steps, forgotten: u64) -> String {
    let (group, place) = (&arguments.group, &database.place);
    let mut said = match arguments.dry_run {
        true => format!("group `{group}` would go on there; nothing was changed ({place})"),
        false => format!("group `{group}` goes on there when it is started ({place})"),
    };
    let back = steps.values().flatten().any(|step| step.from.is_some_and(|from| step.to < from));
    let forward = steps.values().flatten().any(|step| step.from.is_some_and(|from| step.to > from));
    match (arguments.forget_inbox, arguments.dry_run) {
        (true, true) => said.push_str("; the ids of what is done would be forgotten, and it would be handled again"),
        (true, false) => said.push_str(&format!(
            "; {} forgotten, so that what is read again is handled again, but for dead letters, which are replayed by `eos \
             dead-letters replay`",
            count(forgotten, "message id")
        )),
        (false, _) if back => said.push_str(
            "; what is read again is passed over where the inbox still has its message id, and handled again where it has none: \
             with `--forget-inbox` all of it is handled again",
        ),
        (false, _) => {}
    }
    if forward {
        said.push_str("; records that are jumped over are not handled");
    }
    said
}

fn as_json(arguments: &arguments::Reset, steps: &Steps, forgotten: u64) -> Value {
    let partition = |topic: &String, step: &Step| json!({ "topic": topic, "partition": step.partition, "from": step.from, "to": step.to });
    let partitions: Vec<_> = steps
        .iter()
        .flat_map(|(topic, steps)| steps.iter().map(move |step| partition(topic, step)))
        .collect();
    json!({
        "group": arguments.group,
        "changed": !arguments.dry_run,
        "partitions": partitions,
        "forgotten_ids": forgotten,
    })
}
