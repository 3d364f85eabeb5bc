//! `eos outbox`: the events that Kafka refused, listed, tried again, deleted.

use eos_runtime::outbox::{Refused, RefusedEntries};
use serde_json::{Value, json};

use crate::Outcome;
use crate::arguments::{OutboxCommand, Which};
use crate::database::{Database, on_database};
use crate::print::{Form, aside, count, json_bytes, json_headers, line, numbers, out};
use crate::table::{Align, Table};

/// What is to become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Discard,
}

/// The runtime lists no more at once.
const LONGEST: usize = 10_000;

pub(crate) async fn run(database: &Database, command: &OutboxCommand, form: Form) -> anyhow::Result<Outcome> {
    match command {
        OutboxCommand::List => list(database, form).await,
        OutboxCommand::Retry(which) => change(database, Act::Retry, which, form).await,
        OutboxCommand::Discard(which) => change(database, Act::Discard, which, form).await,
    }
}

async fn list(database: &Database, form: Form) -> anyhow::Result<Outcome> {
    let refused = find(database).await?;
    match form {
        Form::Json => form.say("", || refused.iter().map(json).collect())?,
        Form::Text if refused.is_empty() => {
            out(&format!("Kafka has refused nothing that is still in the outbox ({})", database.place))?;
        }
        Form::Text => out(&table(&refused))?,
    }
    if refused.len() == LONGEST {
        aside(&format!("these are the oldest {LONGEST}, and there may be more"));
    }
    Ok(Outcome::Done)
}

/// Has them tried again, or deletes them; those that are not refused (any more) are named.
async fn change(database: &Database, act: Act, which: &Which, form: Form) -> anyhow::Result<Outcome> {
    let refused: Vec<i64> = find(database).await?.iter().map(|refused| refused.seq).collect();
    let mut seqs = if which.all { refused.clone() } else { which.seqs.clone() };
    seqs.sort_unstable();
    seqs.dedup();
    // Behind the longest list there may be others, which are left to the database to find.
    let missing: Vec<i64> = match refused.len() {
        LONGEST => Vec::new(),
        _ => seqs.iter().copied().filter(|seq| !refused.contains(seq)).collect(),
    };
    let changed = on_database!(database, pool => {
        let entries = RefusedEntries::in_schema(pool, &database.schema);
        match act {
            Act::Retry => entries.retry(&seqs).await,
            Act::Discard => entries.discard(&seqs).await,
        }
    });
    let changed = changed.map_err(|error| database.trouble(&error))?;
    let (many, place) = (count(changed, "refused event"), &database.place);
    let text = match (act, changed) {
        (_, 0) if which.all => format!("Kafka has refused nothing that is still in the outbox ({place})"),
        (_, 0) => format!("nothing was changed ({place})"),
        (Act::Retry, _) => format!(
            "{many} will be tried again ({place}); `eos outbox list` shows what is refused again, after a few seconds"
        ),
        (Act::Discard, _) => format!("{many} deleted ({place}); what waited behind is published now"),
    };
    let done = match act {
        Act::Retry => "retried",
        Act::Discard => "discarded",
    };
    form.say(&text, || json!({ done: changed }))?;
    if missing.is_empty() {
        return Ok(Outcome::Done);
    }
    aside(&format!(
        "no refused event has the number {} ({place}); `eos outbox list` shows those that there are",
        numbers(&missing)
    ));
    Ok(Outcome::NotThere)
}

async fn find(database: &Database) -> anyhow::Result<Vec<Refused>> {
    let found =
        on_database!(database, pool => RefusedEntries::in_schema(pool, &database.schema).list().await);
    found.map_err(|error| database.trouble(&error))
}

fn json(refused: &Refused) -> Value {
    json!({
        "seq": refused.seq,
        "id": refused.id,
        "topic": refused.topic,
        "key": refused.key,
        "event": refused.event,
        "attempts": refused.attempts,
        "error": refused.error,
        "headers": json_headers(&refused.headers),
        "payload": json_bytes(refused.payload.as_deref()),
    })
}

fn table(refused: &[Refused]) -> String {
    let mut table = Table::new([
        ("SEQ", Align::Right),
        ("TOPIC", Align::Left),
        ("KEY", Align::Left),
        ("TYPE", Align::Left),
        ("BYTES", Align::Right),
        ("REFUSED", Align::Right),
        ("ERROR", Align::Left),
    ]);
    for refused in refused {
        table.row([
            refused.seq.to_string(),
            line(&refused.topic, 60),
            refused.key.as_deref().map_or_else(|| "–".to_owned(), |key| line(key, 40)),
            line(&refused.event, 40),
            refused.payload.as_ref().map_or_else(|| "–".to_owned(), |payload| payload.len().to_string()),
            format!("{}x", refused.attempts),
            line(&refused.error, 200),
        ]);
    }
    table.text()
}
