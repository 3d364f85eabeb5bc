//! Which dead letters and parked records there are: found in the table, and a line for each.

use eos_runtime::dead_letters::{DeadLetter, DeadLetters, Selection};

use crate::arguments::StateName;
use crate::database::{Database, on_database};
use crate::print::{bytes_line, line, time};
use crate::table::{Align, Table};

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
