//! `eos parked`: records that wait in order behind one of their key that failed.

use eos_runtime::dead_letters::DeadLetters;

use crate::Outcome;
use crate::arguments::{Filters, ParkedCommand};
use crate::change::{self, Act};
use crate::database::{Database, on_database};
use crate::found::table;
use crate::letter;
use crate::print::{Form, aside, out};

pub(crate) async fn run(database: &Database, command: &ParkedCommand, form: Form) -> anyhow::Result<Outcome> {
    match command {
        ParkedCommand::List { numbers, filters, limit } => {
            list(database, numbers, filters, *limit, form).await
        }
        ParkedCommand::Retry(change) => change::run(database, Act::RetryParked, change, &[], form).await,
        ParkedCommand::Discard(change) => change::run(database, Act::DiscardParked, change, &[], form).await,
    }
}

async fn list(
    database: &Database,
    numbers: &[i64],
    filters: &Filters,
    limit: u32,
    form: Form,
) -> anyhow::Result<Outcome> {
    // One more tells whether there are more.
    let selection = filters.selection(numbers, &[]).limit(limit.saturating_add(1));
    let found = on_database!(database, pool => {
        DeadLetters::in_schema(pool, &database.schema).list_parked(&selection).await
    });
    let mut parked = found.map_err(|error| database.trouble(&error))?;
    let more = parked.len() > limit as usize;
    parked.truncate(limit as usize);
    match form {
        Form::Json => form.say("", || parked.iter().map(letter::json).collect())?,
        Form::Text if parked.is_empty() => out(&format!(
            "no parked records{} ({}); only a listener with `on_failure = \"park\"` parks",
            filters.said(numbers),
            database.place
        ))?,
        Form::Text => out(&table(&parked))?,
    }
    if more {
        aside(&format!("these are the oldest {limit}, and there are more; `--limit` shows them"));
    }
    Ok(Outcome::Done)
}
