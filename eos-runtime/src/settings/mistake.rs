//! Mistakes, gathered: start-up says all of them at once, so that nobody mends them one by one.

use std::cell::RefCell;
use std::fmt;

/// Everything that is wrong with the settings and the listeners; each entry names its place and the fix.
///
/// ```
/// # fn show(mistakes: &eos_runtime::Mistakes) {
/// for mistake in mistakes.iter() {
///     eprintln!("- {mistake}");
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is no such thing as no mistakes")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "nothing was started: {only}");
        }
        write!(f, "nothing was started: there are {} mistakes to mend", self.0.len())?;
        for (number, mistake) in (1..).zip(&self.0) {
            write!(f, "\n  {number}. {mistake}")?;
        }
        Ok(())
    }
}

/// Where mistakes are put as they are found.
#[derive(Default)]
pub(crate) struct Found(RefCell<Vec<String>>);

impl Found {
    /// Notes one; saying the same thing twice counts once.
    pub(crate) fn add(&self, mistake: impl Into<String>) {
        let (mistake, mut found) = (mistake.into(), self.0.borrow_mut());
        if !found.contains(&mistake) {
            found.push(mistake);
        }
    }

    /// All of them, if there is one.
    pub(crate) fn into_mistakes(self) -> Result<(), Mistakes> {
        let found = self.0.into_inner();
        if found.is_empty() { Ok(()) } else { Err(Mistakes(found)) }
    }
}

/// "; did you mean `x`?" for the nearest of `known`, or nothing when none is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let slips = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}

/// "`a`, `b` or `c`".
pub(crate) fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mistake_is_a_sentence_and_several_are_a_list() {
        let found = Found::default();
        found.add("no group");
        found.add("no group");
        assert_eq!(found.into_mistakes().expect_err("one").to_string(), "nothing was started: no group");
        let found = Found::default();
        found.add("no group");
        found.add("no address");
        assert_eq!(
            found.into_mistakes().expect_err("two").to_string(),
            "nothing was started: there are 2 mistakes to mend\n  1. no group\n  2. no address"
        );
    }

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("retenton", ["retention", "id_headers"]), "; did you mean `retention`?");
        assert_eq!(nearest("colour", ["retention", "id_headers"]), "");
    }
}
