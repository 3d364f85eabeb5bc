//! `eos dead-letters`: what no attempt could handle, listed; who shows or changes it stands in other files.

use eos_runtime::dead_letters::{DeadLetter, DeadLetters, Selection};

use crate::Outcome;
use crate::arguments::{DeadLettersCommand, Filters, StateName};
use crate::change::{self, Act};
use crate::database::{Database, on_database};
use crate::letter;
use crate::print::{Form, aside, bytes_line, line, out, time};
use crate::table::{Align, Table};

pub(crate) async fn run(
    database: &Database,
    command: DeadLettersCommand,
    form: Form,
) -> anyhow::Result<Outcome> {
    match command {
        DeadLettersCommand::List { numbers, filters, state, limit } => {
            list(database, &numbers, &filters, &state, limit, form).await
        }
        DeadLettersCommand::Show { id } => letter::show(database, id, form).await,
        DeadLettersCommand::Replay(meant) => {
            change::run(database, Act::Replay, &meant.change, &meant.state, form).await
        }
        DeadLettersCommand::Discard(meant) => {
            change::run(database, Act::Discard, &meant.change, &meant.state, form).await
        }
        DeadLettersCommand::Edit { id, payload } => change::edit(database, id, &payload, form).await,
    }
}

/// Those that are meant, the oldest first.
pub(crate) async fn find(database: &Database, selection: &Selection) -> anyhow::Result<Vec<DeadLetter>> {
    let found = on_database!(database, pool => {
        DeadLetters::in_schema(pool, &database.schema).list(selection).await
    });
    found.map_err(|error| database.trouble(&error))
}

/// One by its number, whatever its state.
pub(crate) async fn find_one(database: &Database, id: i64) -> anyhow::Result<Option<DeadLetter>> {
    let selection =
        StateName::ALL.iter().fold(Selection::all().ids([id]), |any, state| any.state(state.state()));
    Ok(find(database, &selection).await?.pop())
}

async fn list(
    database: &Database,
    numbers: &[i64],
    filters: &Filters,
    states: &[StateName],
    limit: u32,
    form: Form,
) -> anyhow::Result<Outcome> {
    // One more tells whether there are more.
    let selection = filters.selection(numbers, states).limit(limit.saturating_add(1));
    let mut letters = find(database, &selection).await?;
    let more = letters.len() > limit as usize;
    letters.truncate(limit as usize);
    match form {
        Form::Json => form.say("", || letters.iter().map(letter::json).collect())?,
        Form::Text if letters.is_empty() => out(&nothing(database, numbers, filters, states))?,
        Form::Text => out(&table(&letters))?,
    }
    if more {
        aside(&format!("these are the oldest {limit}, and there are more; `--limit` shows them"));
    }
    Ok(Outcome::Done)
}

fn nothing(database: &Database, numbers: &[i64], filters: &Filters, states: &[StateName]) -> String {
    let (meant, place) = (filters.said(numbers), &database.place);
    match states {
        [] => {
            format!("no dead letters{meant} ({place}); those replayed or discarded are shown with `--state`")
        }
        states => {
            let names: Vec<_> = states.iter().map(|state| state.state().to_string()).collect();
            format!("no dead letters{meant} in the state {} ({place})", names.join(" or "))
        }
    }
}

/// A line for each.
pub(crate) fn table(letters: &[DeadLetter]) -> String {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("SET ASIDE", Align::Left),
        ("GROUP", Align::Left),
        ("TOPIC/PARTITION/OFFSET", Align::Left),
        ("KEY", Align::Left),
        ("TRIED", Align::Right),
        ("REASON", Align::Left),
        ("ERROR", Align::Left),
    ]);
    for letter in letters {
        table.row([
            letter.id.to_string(),
            letter.state.to_string(),
            time(letter.set_aside_at),
            line(&letter.group, 40),
            format!("{}/{}/{}", line(&letter.topic, 60), letter.partition, letter.offset),
            bytes_line(letter.record.key(), 24),
            letter.attempts.to_string(),
            line(&letter.reason, 16),
            line(&letter.error, 72),
        ]);
    }
    table.text()
}
