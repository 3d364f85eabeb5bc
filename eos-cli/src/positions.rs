//! `eos positions`: where each group goes on in each partition.

use eos_runtime::positions::{Position, Positions};
use serde_json::{Value, json};

use crate::Outcome;
use crate::database::{Database, on_database};
use crate::print::{Form, json_time, line, out, time};
use crate::table::{Align, Table};

pub(crate) async fn show(
    database: &Database,
    group: Option<&str>,
    topic: Option<&str>,
    form: Form,
) -> anyhow::Result<Outcome> {
    let found = on_database!(database, pool => {
        Positions::in_schema(pool, &database.schema).list(group, topic).await
    });
    let positions = found.map_err(|error| database.trouble(&error))?;
    match form {
        Form::Json => form.say("", || positions.iter().map(json).collect())?,
        Form::Text if positions.is_empty() => out(&nothing(database, group, topic))?,
        Form::Text => out(&table(&positions))?,
    }
    Ok(Outcome::Done)
}

fn nothing(database: &Database, group: Option<&str>, topic: Option<&str>) -> String {
    let group = group.map(|group| format!(" of group `{group}`")).unwrap_or_default();
    let topic = topic.map(|topic| format!(" in topic `{topic}`")).unwrap_or_default();
    format!(
        "no positions{group}{topic} ({}); a transactional listener makes one for each partition when it first takes it",
        database.place
    )
}

fn json(position: &Position) -> Value {
    json!({
        "group": position.group,
        "topic": position.topic,
        "partition": position.partition,
        "next_offset": position.next_offset,
        "slots": position.slots,
        "epoch": position.epoch,
        "attempts": position.attempts,
        "taken_at": json_time(position.taken_at),
    })
}

fn table(positions: &[Position]) -> String {
    let mut table = Table::new([
        ("GROUP", Align::Left),
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("NEXT OFFSET", Align::Right),
        ("SLOTS", Align::Right),
        ("EPOCH", Align::Right),
        ("ATTEMPTS", Align::Right),
        ("TAKEN AT", Align::Left),
    ]);
    for position in positions {
        table.row([
            line(&position.group, 60),
            line(&position.topic, 60),
            position.partition.to_string(),
            position.next_offset.to_string(),
            position.slots.to_string(),
            position.epoch.to_string(),
            position.attempts.to_string(),
            time(position.taken_at),
        ]);
    }
    table.text()
}
