//! One dead letter, with everything about it: for people, and for scripts.

use eos_runtime::dead_letters::{DeadLetter, State};
use serde_json::{Value, json};

use crate::Outcome;
use crate::database::Database;
use crate::found::find_one;
use crate::print::{
    Form, aside, bytes_line, bytes_lines, count, harmless, json_bytes, json_headers, json_time, readable,
    time,
};

pub(crate) async fn show(database: &Database, id: i64, form: Form) -> anyhow::Result<Outcome> {
    let Some(letter) = find_one(database, id).await? else {
        aside(&format!("there is no dead letter {id} ({})", database.place));
        return Ok(Outcome::NotThere);
    };
    form.say(&text(&letter), || json(&letter))?;
    Ok(Outcome::Done)
}

/// All of it as plain fields.
pub(crate) fn json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "state": letter.state.to_string(),
        "group": letter.group,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "listener": letter.listener,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "error": letter.error,
        "set_aside_at": json_time(letter.set_aside_at),
        "written_at": letter.record.timestamp().map(json_time),
        "edited": letter.edited,
        "key": json_bytes(letter.record.key()),
        "headers": json_headers(&letter.record.headers()),
        "payload": json_bytes(letter.record.payload()),
    })
}

fn text(letter: &DeadLetter) -> String {
    let mut lines = vec![format!("dead letter {}: {}", letter.id, fate(letter))];
    let mut field = |name: &str, value: &str| lines.push(format!("  {name:<10} {value}"));
    field("group", &harmless(&letter.group));
    field("topic", &harmless(&letter.topic));
    field("partition", &letter.partition.to_string());
    field("offset", &letter.offset.to_string());
    field("listener", &harmless(&letter.listener));
    let attempts = count(letter.attempts.into(), "attempt");
    field("reason", &format!("{}, after {attempts}", harmless(&letter.reason)));
    field("set aside", &time(letter.set_aside_at));
    field("written", &letter.record.timestamp().map_or_else(|| "–".to_owned(), time));
    field("key", &bytes_line(letter.record.key(), usize::MAX));

    lines.push(String::new());
    lines.push("causes, the outermost first".to_owned());
    lines.extend(causes(&letter.error).map(|cause| format!("  {}", harmless(cause))));

    lines.push(String::new());
    let headers = letter.record.headers();
    lines.push(if headers.is_empty() { "no headers".to_owned() } else { "headers".to_owned() });
    let names: Vec<_> = headers.iter().map(|(name, _)| harmless(&String::from_utf8_lossy(name))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, (_, value)) in names.iter().zip(headers.iter()) {
        lines.push(format!("  {name:<width$} {}", bytes_line(value, usize::MAX)));
    }

    lines.push(String::new());
    lines.extend(payload(letter));
    lines.join("\n")
}

/// Its state, and what can be done about it.
fn fate(letter: &DeadLetter) -> String {
    let edited = if letter.edited { "; its payload was edited" } else { "" };
    let fate = match letter.state {
        State::Dead => "dead, it waits until somebody replays or discards it",
        State::Parked => {
            "parked, it waits for its turn behind what is parked of its key, and is tried again by itself"
        }
        State::Wanted => "wanted, it waits for a running listener of its group",
        State::Replayed => "replayed, it was handled after all",
        State::Discarded => "discarded, nobody wants it handled",
        _ => "in a state that this version of eos does not know",
    };
    format!("{fate}{edited}")
}

/// The chain, which is kept as one sentence.
fn causes(error: &str) -> impl Iterator<Item = &str> {
    error.lines().flat_map(|line| line.split(": ")).map(str::trim).filter(|cause| !cause.is_empty())
}

fn payload(letter: &DeadLetter) -> Vec<String> {
    match letter.record.payload() {
        None => vec!["no payload: a tombstone".to_owned()],
        Some([]) => vec!["an empty payload".to_owned()],
        Some(bytes) => {
            let form = if readable(bytes).is_some() { "as text" } else { "no plain text, in base64" };
            vec![format!("payload, {}, {form}", count(bytes.len() as u64, "byte")), bytes_lines(bytes)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_causes_is_one_a_line() {
        let said =
            "the order was not stored: error returned from database: duplicate key\nKey (id)=(7) exists";
        assert_eq!(
            causes(said).collect::<Vec<_>>(),
            [
                "the order was not stored",
                "error returned from database",
                "duplicate key",
                "Key (id)=(7) exists"
            ]
        );
    }
}
