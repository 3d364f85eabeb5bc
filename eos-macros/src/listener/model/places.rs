//! Which word belongs where, and what to say of one that is known, and not of this place.

use crate::shared::arguments::Argument;
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::unknown;

pub(super) const OF_A_LISTENER: [&str; 17] = [
    "topic",
    "topics",
    "group",
    "id",
    "deadline",
    "concurrency",
    "concurrency_per_partition",
    "transactional",
    "exactly_once",
    "at_most_once",
    "to",
    "idempotent",
    "retry",
    "on_failure",
    "dead_letter",
    "max_batch",
    "max_wait",
];
pub(super) const OF_EXACTLY_ONCE: [&str; 3] = ["commit_interval", "commit_records", "message_id"];
pub(super) const OF_TRANSACTIONAL: [&str; 5] =
    ["isolation", "dedupe", "database", "group_commit", "key_slots"];
pub(super) const OF_RETRY: [&str; 5] = ["max", "backoff", "factor", "max_backoff", "jitter"];
/// Those that `idempotent(…)` alone has; it has others besides.
const OF_IDEMPOTENT: [&str; 3] = ["ttl", "lease", "on_outage"];

/// Says what is wrong with a word that is not of this place, and returns the one that was probably meant.
pub(super) fn misplaced<'a>(
    argument: &Argument,
    known: &[&'a str],
    place: &str,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let word = argument.word();
    let message = if OF_TRANSACTIONAL.contains(&word.as_str()) {
        format!("`{word}` belongs to the transaction; write `transactional({word} = …)`")
    } else if OF_EXACTLY_ONCE.contains(&word.as_str()) {
        format!("`{word}` belongs to the Kafka transaction; write `exactly_once({word} = …)`")
    } else if OF_IDEMPOTENT.contains(&word.as_str()) {
        format!("`{word}` belongs to the dedupe; write `idempotent(redis, {word} = …)`")
    } else if OF_RETRY.contains(&word.as_str()) {
        format!("`{word}` belongs to the attempts; write `retry({word} = …)`")
    } else if OF_A_LISTENER.contains(&word.as_str()) {
        format!("`{word}` belongs to the listener; write it beside, not inside")
    } else {
        return unknown(argument, known, place, mistakes);
    };
    mistakes.at(&argument.name, message);
    text::nearest(&word, known.iter().copied())
}
