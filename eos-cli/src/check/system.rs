//! The servers, asked one after the other: databases, Kafka, topics, and each group's positions in them.

use std::collections::{BTreeMap, BTreeSet};

use eos_runtime::positions::{Position, Positions};
use eos_runtime::tools::{Finding, Kafka, awaited_topics, check_database};

use super::{Findings, Meant};
use crate::address::Address;
use crate::brokers;
use crate::database::{Database, Tables, on_database};
use crate::print::chain;

/// What the databases have said of Kafka.
#[derive(Default)]
pub(super) struct Reached {
    positions: Vec<Position>,
    /// Topics that dead letters wait for.
    awaited: BTreeSet<String>,
}

/// Looks at each database.
pub(super) async fn databases(
    databases: &[(String, Address)],
    meant: &Meant<'_>,
    findings: &mut Findings,
) -> Reached {
    let mut reached = Reached::default();
    for (name, address) in databases {
        let mut add = |finding| findings.push((name.clone(), finding));
        let (database, tables) = match Database::reach(address).await {
            Ok(reached) => reached,
            Err(error) => {
                add(Finding::problem("connection", format!("{error:#}")));
                continue;
            }
        };
        add(Finding::ok("connection", format!("{} answers", database.place)));
        let looked = on_database!(database, pool => check_database(pool, &database.schema, meant.old).await);
        looked.into_iter().for_each(&mut add);
        if tables == Tables::Behind {
            continue;
        }
        if let Err(error) = read(&database, &mut reached).await {
            add(Finding::problem("tables", chain(&error)));
        }
    }
    reached
}

async fn read(database: &Database, into: &mut Reached) -> Result<(), sqlx::Error> {
    let schema = &database.schema;
    let positions =
        on_database!(database, pool => Positions::in_schema(pool, schema).list(None, None).await)?;
    into.positions.extend(positions);
    into.awaited.extend(on_database!(database, pool => awaited_topics(pool, schema).await)?);
    Ok(())
}

/// Looks at Kafka, and at what the databases say of it; `dead_letter_topics`: the settings send dead letters there.
pub(super) async fn kafka(
    meant: &Meant<'_>,
    reached: &Reached,
    dead_letter_topics: bool,
    findings: &mut Findings,
) {
    let mut add = |finding| findings.push(("kafka".to_owned(), finding));
    let kafka = match brokers::reach_for_a_look(meant.brokers).await {
        Ok(kafka) => kafka,
        Err(error) => return add(Finding::problem("connection", format!("{error:#}"))),
    };
    let cluster = kafka.cluster_id().await;
    let named = cluster.as_ref().map(|id| format!(", cluster `{id}`")).unwrap_or_default();
    add(Finding::ok("connection", format!("{} answers{named}", kafka.servers())));
    for finding in topics(&kafka, reached, meant.topics, dead_letter_topics).await {
        add(finding);
    }
    for finding in positions(&kafka, cluster.as_deref(), &reached.positions).await {
        add(finding);
    }
}

/// Those that groups read, and those that their dead letters go to.
async fn topics(
    kafka: &Kafka,
    reached: &Reached,
    named: &[String],
    dead_letter_topics: bool,
) -> Vec<Finding> {
    let mut read: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    read.extend(reached.positions.iter().map(|position| position.topic.as_str()));
    let mut found = Vec::new();
    let mut awaited = reached.awaited.clone();
    for topic in read {
        found.extend(kafka.check_topic(topic).await);
        let letters = format!("{topic}-dlt");
        let needed = awaited.remove(&letters) || dead_letter_topics;
        found.extend(kafka.check_dead_letter_topic(&letters, Some(topic), needed).await);
    }
    for topic in awaited {
        found.extend(kafka.check_dead_letter_topic(&topic, None, true).await);
    }
    found
}

/// A position lies within its log, and in the log of this cluster, or its partition stops.
async fn positions(kafka: &Kafka, cluster: Option<&str>, positions: &[Position]) -> Vec<Finding> {
    let mut groups: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
    for position in positions {
        groups.entry(&position.group).or_default().extend(judge(kafka, cluster, position).await);
    }
    let what = |group: &str| format!("group {group}");
    groups
        .into_iter()
        .flat_map(|(group, found)| match found.is_empty() {
            true => vec![Finding::ok(what(group), "its positions lie within the log")],
            false => found.into_iter().map(|finding| Finding { what: what(group), ..finding }).collect(),
        })
        .collect()
}

async fn judge(kafka: &Kafka, cluster: Option<&str>, position: &Position) -> Option<Finding> {
    let Position { group, topic, partition, next_offset, .. } = position;
    let problem = |says: String| Some(Finding::problem("", says));
    let reset = format!("eos positions reset --group {group} --topic {topic}");
    if let (Some(stored), Some(connected)) = (position.cluster.as_deref(), cluster)
        && stored != connected
    {
        return problem(format!(
            "its position in partition {partition} of `{topic}` speaks of the Kafka cluster `{stored}`, so that a service stops \
             here; connect to that one, or begin anew in this one by `{reset} --to beginning --other-cluster`"
        ));
    }
    // A topic that is not there has a finding of its own.
    let (low, high) = kafka.watermarks(topic, *partition).await.ok()?;
    if *next_offset < low {
        return problem(format!(
            "its position in partition {partition} of `{topic}` is {next_offset}, and the log begins at {low}: records were deleted \
             before they were read, and the partition stops unless `[kafka] on_retention_gap` is `continue`; `{reset} --partition \
             {partition} --to beginning` goes on without them"
        ));
    }
    if *next_offset > high {
        return problem(format!(
            "its position in partition {partition} of `{topic}` is {next_offset}, and the log ends at {high}: the topic was made \
             anew or has lost its end, and the partition stops; `{reset} --to beginning` begins anew"
        ));
    }
    None
}
