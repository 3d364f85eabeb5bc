//! What becomes of dead letters and of parked records: tried again, discarded, or given another payload.
//!
//! Only the runtime's own functions change rows, and only rows whose state allows it: asking twice does nothing twice, and
//! a row that changed between our look at it and the change is left as it is.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use eos_runtime::dead_letters::{DeadLetter, DeadLetters, Selection};
use serde_json::json;

use crate::Outcome;
use crate::arguments::{Change, Payload, StateName};
use crate::database::{Database, on_database};
use crate::found::{find, find_one, table};
use crate::print::{Form, aside, count};

/// What is to become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Replay,
    Discard,
    RetryParked,
    DiscardParked,
}

impl Act {
    /// The states in which that can be.
    fn possible(self) -> &'static [StateName] {
        match self {
            Act::Replay => &[StateName::Dead],
            Act::Discard => &[StateName::Dead, StateName::Wanted],
            Act::RetryParked | Act::DiscardParked => &[StateName::Parked],
        }
    }

    /// The state that it makes.
    fn goal(self) -> StateName {
        match self {
            Act::Replay => StateName::Wanted,
            Act::Discard | Act::DiscardParked => StateName::Discarded,
            Act::RetryParked => StateName::Parked,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Act::Replay => "replayed",
            Act::Discard | Act::DiscardParked => "discarded",
            Act::RetryParked => "tried now",
        }
    }

    /// What it is about.
    fn noun(self) -> &'static str {
        match self {
            Act::Replay | Act::Discard => "dead letter",
            Act::RetryParked | Act::DiscardParked => "parked record",
        }
    }

    /// What shows them.
    fn list(self) -> &'static str {
        match self {
            Act::Replay | Act::Discard => "eos dead-letters list",
            Act::RetryParked | Act::DiscardParked => "eos parked list",
        }
    }
}

/// A look of a dry run goes no further.
const LOOK: u32 = 10_000;

pub(crate) async fn run(
    database: &Database,
    act: Act,
    change: &Change,
    states: &[StateName],
    form: Form,
) -> anyhow::Result<Outcome> {
    let possible = act.possible();
    if let Some(state) = states.iter().find(|state| !possible.contains(state)) {
        let can: Vec<_> = possible.iter().map(|state| format!("`{}`", state.state())).collect();
        let (state, can) = (state.state(), can.join(" or "));
        anyhow::bail!("what is {state} cannot be {}; `--state` can be {can} here", act.word());
    }
    let states = if states.is_empty() { possible } else { states };
    let meant = change.filters.selection(&change.numbers, states);
    // What becomes of a name that no row fits is asked before the change.
    let left = unchanged(database, act, change).await?;
    if change.dry_run {
        let letters = find(database, &meant.limit(change.limit.unwrap_or(LOOK))).await?;
        tell_dry_run(database, act, change, &letters, form)?;
    } else {
        let marked = mark(database, act, meant, change.limit).await?;
        tell(database, act, change, marked, &left, form)?;
    }
    for reason in &left {
        aside(reason);
    }
    Ok(if left.is_empty() { Outcome::Done } else { Outcome::NotThere })
}

/// All that are meant in one statement, or the oldest of them.
async fn mark(database: &Database, act: Act, meant: Selection, limit: Option<u32>) -> anyhow::Result<u64> {
    let meant = match limit {
        None => meant,
        Some(limit) => {
            let oldest = find(database, &meant.clone().limit(limit)).await?;
            meant.ids(oldest.iter().map(|letter| letter.id))
        }
    };
    let marked = on_database!(database, pool => {
        let letters = DeadLetters::in_schema(pool, &database.schema);
        match act {
            Act::Replay => letters.replay(&meant).await,
            Act::Discard => letters.discard(&meant).await,
            Act::RetryParked => letters.retry_parked(&meant).await,
            Act::DiscardParked => letters.discard_parked(&meant).await,
        }
    });
    marked.map_err(|error| database.trouble(&error))
}

/// Why named ones stay as they are: they are not there, or had another fate. One that has what is asked for is no trouble.
async fn unchanged(database: &Database, act: Act, change: &Change) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    for id in change.filters.ids(&change.numbers) {
        match find_one(database, id).await? {
            None => reasons.push(format!("there is no {} {id} ({})", act.noun(), database.place)),
            Some(letter) => {
                let can =
                    act.possible().iter().chain([&act.goal()]).any(|state| state.state() == letter.state);
                if !can {
                    reasons.push(format!(
                        "{} {id} cannot be {}: it is {}",
                        act.noun(),
                        act.word(),
                        letter.state
                    ));
                }
            }
        }
    }
    Ok(reasons)
}

fn tell_dry_run(
    database: &Database,
    act: Act,
    change: &Change,
    letters: &[DeadLetter],
    form: Form,
) -> anyhow::Result<()> {
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    let more = change.limit.is_none() && letters.len() as u32 >= LOOK;
    let at_least = if more { "at least " } else { "" };
    let many = count(letters.len() as u64, act.noun());
    let said = format!("{at_least}{many} would be {}; nothing was changed ({})", act.word(), database.place);
    let text = if letters.is_empty() { said } else { format!("{}\n{said}", table(letters)) };
    form.say(&text, || json!({ "would_mark": ids.len(), "ids": ids, "more": more }))
}

fn tell(
    database: &Database,
    act: Act,
    change: &Change,
    marked: u64,
    left: &[String],
    form: Form,
) -> anyhow::Result<()> {
    let place = &database.place;
    let text = match (act, marked) {
        (_, 0) => {
            let which = change.filters.said(&change.numbers);
            let hint = if left.is_empty() {
                format!("; `{}` shows what there is", act.list())
            } else {
                String::new()
            };
            format!(
                "no {}s{which} were there to be {}, and nothing was changed ({place}){hint}",
                act.noun(),
                act.word()
            )
        }
        (Act::Replay, marked) => format!(
            "{} marked ({place}); running listeners of the group handle them again within seconds, and \
             `eos dead-letters list` shows those that still wait or have failed again",
            count(marked, act.noun())
        ),
        (Act::RetryParked, marked) => format!(
            "{} marked ({place}); running listeners of the group try their keys within seconds, in order, and \
             `eos parked list` shows those that still wait",
            count(marked, act.noun())
        ),
        (Act::Discard | Act::DiscardParked, marked) => format!(
            "{} discarded ({place}); `eos dead-letters list --state discarded` still shows them",
            count(marked, act.noun())
        ),
    };
    form.say(&text, || json!({ "marked": marked }))
}

/// Another payload.
pub(crate) async fn edit(
    database: &Database,
    id: i64,
    payload: &Payload,
    form: Form,
) -> anyhow::Result<Outcome> {
    let payload = match &payload.payload_file {
        Some(file) => Some(read(file)?),
        None => None,
    };
    let edited = on_database!(database, pool => {
        DeadLetters::in_schema(pool, &database.schema).edit(id, payload.as_deref()).await
    });
    if !edited.map_err(|error| database.trouble(&error))? {
        aside(&match find_one(database, id).await? {
            None => format!("there is no dead letter {id} ({})", database.place),
            Some(letter) => format!("dead letter {id} cannot be edited: it is {}", letter.state),
        });
        return Ok(Outcome::NotThere);
    }
    let now = match &payload {
        None => "is a tombstone now".to_owned(),
        Some(payload) => format!("has a payload of {} now", count(payload.len() as u64, "byte")),
    };
    let text = format!(
        "dead letter {id} {now} ({}); the payload that came is kept beside it, and `eos dead-letters replay {id}` has it handled",
        database.place
    );
    form.say(&text, || json!({ "id": id, "edited": true, "payload_bytes": payload.as_ref().map(Vec::len) }))?;
    Ok(Outcome::Done)
}

/// A file's bytes as they are, or standard input's.
fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file)
            .with_context(|| format!("the payload file `{}` cannot be read", file.display()));
    }
    let mut payload = Vec::new();
    std::io::stdin().read_to_end(&mut payload).context("standard input cannot be read")?;
    // A pipe whose other end has failed looks like this.
    ensure!(
        !payload.is_empty(),
        "standard input was empty, and nothing was changed; `--tombstone` takes the payload away, and an empty file \
         given by `--payload-file` makes an empty payload"
    );
    Ok(payload)
}
