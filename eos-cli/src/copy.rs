//! `eos positions copy`: a stopped group's positions and message ids for another, so that it can be renamed.

use std::collections::BTreeMap;

use anyhow::bail;
use eos_runtime::dead_letters::{DeadLetters, Selection, State};
use eos_runtime::positions::{CopyGroup, Position, Positions};
use serde_json::{Value, json};

use crate::arguments;
use crate::brokers;
use crate::database::{Database, on_database};
use crate::print::{Form, aside, count, line};
use crate::reset::failed;
use crate::table::{Align, Table};
use crate::{Outcome, Refused};

pub(crate) async fn run(
    database: &Database,
    arguments: &arguments::Copy,
    form: Form,
) -> anyhow::Result<Outcome> {
    let (from, to) = (arguments.from_group.as_str(), arguments.to_group.as_str());
    let positions = list(database, from, arguments.topic.as_deref()).await?;
    if positions.is_empty() {
        let topic = arguments.topic.as_ref().map(|topic| format!(" in topic `{topic}`")).unwrap_or_default();
        bail!(Refused(format!("group `{from}` has no positions{topic} ({})", database.place)));
    }
    let there = list(database, to, None).await?;
    if !arguments.replace {
        expect_vacant(database, arguments, &positions, &there)?;
    }
    let kafka = brokers::reach(&arguments.brokers).await?;
    brokers::expect_stopped(&kafka, from, &topics(&positions)).await?;
    brokers::expect_stopped(&kafka, to, &topics(&[positions.as_slice(), &there].concat())).await?;

    let mut ids = 0;
    if !arguments.dry_run {
        ids = apply(database, arguments).await?;
    }
    let text = format!("{}\n{}", table(&positions), said(database, arguments, ids));
    form.say(&text, || as_json(arguments, &positions, ids))?;
    note_dead_letters(database, from).await?;
    Ok(Outcome::Done)
}

async fn list(database: &Database, group: &str, topic: Option<&str>) -> anyhow::Result<Vec<Position>> {
    let found = on_database!(database, pool => {
        Positions::in_schema(pool, &database.schema).list(Some(group), topic).await
    });
    found.map_err(|error| database.trouble(&error))
}

/// The topics with how many partitions are known of each.
fn topics(positions: &[Position]) -> Vec<(String, i32)> {
    let mut topics = BTreeMap::new();
    for position in positions {
        let partitions = topics.entry(position.topic.clone()).or_insert(0);
        *partitions = (position.partition + 1).max(*partitions);
    }
    topics.into_iter().collect()
}

/// What a group has done already is not written over by a slip.
fn expect_vacant(
    database: &Database,
    arguments: &arguments::Copy,
    positions: &[Position],
    there: &[Position],
) -> anyhow::Result<()> {
    let meant = topics(positions);
    let taken = there.iter().find(|position| meant.iter().any(|(topic, _)| *topic == position.topic));
    match taken {
        None => Ok(()),
        Some(position) => bail!(Refused(format!(
            "group `{}` has positions of its own in `{}` ({}), and nothing was changed; `--replace` writes over them",
            arguments.to_group, position.topic, database.place
        ))),
    }
}

/// How many ids were copied.
async fn apply(database: &Database, arguments: &arguments::Copy) -> anyhow::Result<u64> {
    let mut copy = CopyGroup::new(&arguments.from_group, &arguments.to_group);
    if let Some(topic) = &arguments.topic {
        copy = copy.topic(topic);
    }
    if arguments.replace {
        copy = copy.replace();
    }
    let copied =
        on_database!(database, pool => Positions::in_schema(pool, &database.schema).copy(&copy).await);
    let copied = copied.map_err(|error| failed(database, &error))?;
    Ok(copied.topics.iter().map(|topic| topic.ids).sum())
}

/// They stay behind, and wait for listeners of the first group.
async fn note_dead_letters(database: &Database, group: &str) -> anyhow::Result<()> {
    let meant = Selection::all().group(group).state(State::Dead).state(State::Wanted);
    let left = on_database!(database, pool => {
        DeadLetters::in_schema(pool, &database.schema).list(&meant).await
    });
    let left = left.map_err(|error| database.trouble(&error))?;
    if !left.is_empty() {
        aside(&format!(
            "{} of group `{group}` can be replayed by its own listeners alone: run it once more under its old name for them, or \
             discard them (`eos dead-letters list --group {group}`)",
            count(left.len() as u64, "dead letter")
        ));
    }
    Ok(())
}

fn table(positions: &[Position]) -> String {
    let mut table =
        Table::new([("TOPIC", Align::Left), ("PARTITION", Align::Right), ("NEXT OFFSET", Align::Right)]);
    for position in positions {
        let Position { topic, partition, next_offset, .. } = position;
        table.row([line(topic, 60), partition.to_string(), next_offset.to_string()]);
    }
    table.text()
}

fn said(database: &Database, arguments: &arguments::Copy, ids: u64) -> String {
    let (from, to, place) = (&arguments.from_group, &arguments.to_group, &database.place);
    match arguments.dry_run {
        true => format!(
            "group `{to}` would go on there, with the message ids of group `{from}`; nothing was changed ({place})"
        ),
        false => format!(
            "group `{to}` goes on there when it is started, and {} copied from `{from}` ({place}); do not start `{from}` again",
            count(ids, "message id")
        ),
    }
}

fn as_json(arguments: &arguments::Copy, positions: &[Position], ids: u64) -> Value {
    let partition = |position: &Position| json!({ "topic": position.topic, "partition": position.partition, "next_offset": position.next_offset });
    json!({
        "from_group": arguments.from_group,
        "to_group": arguments.to_group,
        "changed": !arguments.dry_run,
        "partitions": positions.iter().map(partition).collect::<Vec<_>>(),
        "copied_ids": ids,
    })
}
