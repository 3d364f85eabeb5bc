//! How things are told: times, bytes, chains of causes; and the only place that writes to standard output.
//!
//! What came from elsewhere is shown to people without its control characters, which could move a terminal's cursor.

use std::error::Error as StdError;
use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use eos_runtime::Headers;
use serde_json::{Value, json};

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// People.
    Text,
    /// Scripts.
    Json,
}

impl Form {
    /// Writes the one or the other, whichever is asked for.
    pub(crate) fn say(self, text: &str, json: impl FnOnce() -> Value) -> anyhow::Result<()> {
        match self {
            Form::Text => out(text),
            Form::Json => out(&serde_json::to_string_pretty(&json())?),
        }
    }
}

/// Writes lines to standard output. A reader that has seen enough (`| head`) is no trouble.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written to"),
    }
}

/// Says something beside the result, on standard error.
pub(crate) fn aside(text: &str) {
    eprintln!("eos: {text}");
}

/// A time for people: `2026-11-26 17:50:46 UTC`.
pub(crate) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', " UTC")
}

/// A time for scripts: RFC 3339 with milliseconds.
pub(crate) fn json_time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Text on one line, cut to so many characters.
pub(crate) fn line(text: &str, longest: usize) -> String {
    let shown = harmless(text);
    match shown.char_indices().nth(longest) {
        None => shown,
        Some(_) => shown.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Text without control characters: each is written as Rust would (`\n`, `\u{1b}`).
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Bytes as text that a terminal bears, or `None`.
pub(crate) fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let bearable = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    bearable.then_some(text)
}

/// Bytes on one line: as text, or else in base64.
pub(crate) fn bytes_line(bytes: Option<&[u8]>, longest: usize) -> String {
    match bytes.map(|bytes| (bytes, readable(bytes))) {
        None => "–".to_owned(),
        Some((_, Some(text))) => line(text, longest),
        Some((bytes, None)) => line(&format!("base64:{}", BASE64.encode(bytes)), longest),
    }
}

/// Bytes of any length: text as it is, or else base64 in lines.
pub(crate) fn bytes_lines(bytes: &[u8]) -> String {
    if let Some(text) = readable(bytes) {
        return text.to_owned();
    }
    let encoded = BASE64.encode(bytes).into_bytes();
    let lines: Vec<_> = encoded.chunks(100).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    lines.join("\n")
}

/// Bytes for scripts: `{"text": …}`, or `{"base64": …}` where they are no UTF-8.
pub(crate) fn json_bytes(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!({ "text": text }),
        Some((bytes, Err(_))) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

/// Headers for scripts, in order, since names may repeat.
pub(crate) fn json_headers(headers: &Headers) -> Value {
    let header = |(name, value): (&[u8], Option<&[u8]>)| json!({ "name": String::from_utf8_lossy(name), "value": json_bytes(value) });
    headers.iter().map(header).collect()
}

/// An error and its causes as one sentence. Many errors already end with their cause's words.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let (mut said, mut cause) = link(error);
    let mut last = said.clone();
    while let Some(error) = cause {
        let (text, next) = link(error);
        if !last.ends_with(&text) {
            said.push_str(&format!(": {text}"));
        }
        (last, cause) = (text, next);
    }
    said
}

/// One error's words, and its cause. A server's own words are enough, without the line of its source.
fn link<'e>(error: &'e (dyn StdError + 'static)) -> (String, Option<&'e (dyn StdError + 'static)>) {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(database)) => (database.message().to_owned(), None),
        Some(_) | None => (error.to_string(), error.source()),
    }
}

/// `1 dead letter`, `2 dead letters`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Numbers in a sentence.
pub(crate) fn numbers(numbers: &[i64]) -> String {
    numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_said_in_utc() {
        assert_eq!(time(UNIX_EPOCH + Duration::from_secs(1_795_715_446)), "2026-11-26 17:50:46 UTC");
    }

    #[test]
    fn what_would_move_the_cursor_is_written_out_or_encoded() {
        assert_eq!(line("a\nb\u{1b}[2J", 99), "a\\nb\\u{1b}[2J");
        assert_eq!(line("abcdef", 4), "abc…");
        assert_eq!(bytes_line(Some(b"\x1b[2J"), 99), "base64:G1sySg==");
        assert_eq!(bytes_line(Some(&[0xff, 0]), 99), "base64:/wA=");
    }
}
