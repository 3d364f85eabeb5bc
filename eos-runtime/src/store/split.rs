//! The statements that split a partition's keys anew, said once for three databases.
//!
//! All of the partition's rows are changed by one compare-and-set: whoever took one of them since, or moved it, makes it
//! change fewer rows than there are, and then nothing is done.

use std::fmt::Write as _;

use uuid::Uuid;

use super::Hold;

/// In which words databases differ here.
pub(super) struct SplitWords<L> {
    pub(super) partition: &'static str,
    /// Columns beside those that all have, copied from the first row.
    pub(super) more: &'static str,
    /// Where this hold's row is looked for, and that it is still its, by the compare-and-set; and by what follows. Whoever is
    /// at another row must not be waited for: a statement that scans the table waits for each row that somebody holds, but for
    /// an UPDATE, and but on PostgreSQL, which looks before it waits.
    pub(super) is_of: fn(&Hold<L>) -> String,
    pub(super) is_still_of: fn(&Hold<L>) -> String,
    /// A token, as a literal.
    pub(super) token: fn(Uuid) -> String,
}

/// What is to be run, in one transaction.
pub(super) struct Statements {
    /// The compare-and-set: as many rows as there are holds, or none of it is to be.
    pub(super) all: String,
    /// What follows.
    pub(super) then: Vec<String>,
}

/// `also` is set in each row besides. All rows go to the highest of the positions; those of slots that are no more go away, and new ones are made. Attempts that
/// were counted are those of a record that may be another slot's now, and are forgotten.
#[expect(clippy::expect_used, reason = "writing to a String cannot fail")]
pub(super) fn statements<L>(
    schema: &str,
    holds: &[Hold<L>],
    slots: i32,
    also: &str,
    words: &SplitWords<L>,
) -> Option<Statements> {
    let highest = holds.iter().max_by_key(|hold| hold.next_offset)?;
    let first = holds.iter().find(|hold| hold.slot.number == 0)?;
    let last = match highest.last {
        Some(last) => format!(
            "last_offset = {}, last_timestamp = {}, last_checksum = {}",
            last.offset, last.timestamp_ms, last.checksum
        ),
        None => "last_offset = null, last_timestamp = null, last_checksum = null".to_owned(),
    };
    let mut all = format!(
        "update {schema}eos_position set slots = {slots}, attempts = 0, {also}{last}, next_offset = {} where ",
        highest.next_offset
    );
    for (count, hold) in holds.iter().enumerate() {
        let or = if count == 0 { "" } else { " or " };
        let is_of = (words.is_of)(hold);
        write!(all, "{or}({is_of} and next_offset = {})", hold.next_offset).expect("to a String");
    }
    let SplitWords { partition, more, token, is_still_of, .. } = words;
    let gone = holds.iter().filter(|hold| hold.slot.number >= slots);
    let delete = |hold: &Hold<L>| format!("delete from {schema}eos_position where {}", is_still_of(hold));
    let mut then: Vec<String> = gone.map(delete).collect();
    let alike = format!("{more}taken_at, cluster, next_offset, last_offset, last_timestamp, last_checksum");
    for slot in i32::try_from(holds.len()).unwrap_or(i32::MAX)..slots {
        then.push(format!(
            "insert into {schema}eos_position (group_id, topic, {partition}, slot, slots, epoch, owner, {alike}) \
             select group_id, topic, {partition}, {slot}, slots, 1, {new}, {alike} from {schema}eos_position \
             where {of_first}",
            new = token(Uuid::new_v4()),
            of_first = is_still_of(first),
        ));
    }
    Some(Statements { all, then })
}
