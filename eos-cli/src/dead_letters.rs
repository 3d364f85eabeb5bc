//! `eos dead-letters`: what no attempt could handle, listed; who shows or changes it stands in other files.

use crate::Outcome;
use crate::arguments::{DeadLettersCommand, Filters, StateName};
use crate::change::{self, Act};
use crate::database::Database;
use crate::found::{find, table};
use crate::letter;
use crate::print::{Form, aside, out};

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
