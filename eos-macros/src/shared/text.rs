//! What is inside the quotes: topics, placeholders, and words that are nearly right.
//!
//! A text may hold placeholders, which start-up replaces: `${key}` or `${key:default}`. A key is one of the
//! settings' (letters, digits, `_`, `-`, with dots between), a default is anything up to the closing brace.
//! What stands outside of them is checked here; the whole once more at start-up, when it is known.

/// What Kafka takes as the longest name of a topic.
const LONGEST_TOPIC: usize = 249;

/// A topic's name, as far as it is known.
pub(crate) fn topic(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a topic's name cannot be empty".to_owned());
    }
    let pieces = pieces(text)?;
    let written: Vec<&str> = pieces.iter().map(Piece::written).collect();
    if let Some(wrong) = written.iter().flat_map(|text| text.chars()).find(|&char| !is_topic_char(char)) {
        return Err(format!(
            "{wrong:?} cannot stand in a topic's name, which has letters, digits, `.`, `_` and `-`"
        ));
    }
    if matches!(text, "." | "..") {
        return Err(format!("Kafka has no topic `{text}`"));
    }
    let length: usize = pieces
        .iter()
        .filter(|piece| matches!(piece, Piece::Text(_)))
        .map(|piece| piece.written().len())
        .sum();
    if length > LONGEST_TOPIC {
        return Err(format!("a topic's name has at most {LONGEST_TOPIC} characters; this has {length}"));
    }
    Ok(())
}

/// Any text whose placeholders can be read.
pub(crate) fn placeholders(text: &str) -> Result<(), String> {
    pieces(text).map(|_| ())
}

/// A name of the user's own choice, where placeholders are not replaced.
pub(crate) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a name cannot be empty; leave it out for the default".to_owned());
    }
    no_placeholders(text)
}

/// A text where placeholders are not replaced.
pub(crate) fn no_placeholders(text: &str) -> Result<(), String> {
    if text.contains("${") {
        return Err("placeholders are read in topics and in `group` only".to_owned());
    }
    Ok(())
}

/// The known word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word.to_lowercase(), known), known))
        .filter(|&(distance, known)| distance <= known.len().max(3) / 3)
        .min()
        .map(|(_, known)| known)
}

/// "`a`, `b` or `c`".
pub(crate) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

/// "`a`, `b` and `c`".
pub(crate) fn all_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "and")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, last_joined_by: &str) -> String {
    let mut words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} {last_joined_by} {last}", words.join(", ")),
        None => String::new(),
    }
}

/// A part of a text with placeholders.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Placeholder { default: Option<&'a str> },
}

impl<'a> Piece<'a> {
    /// What of it is known now.
    fn written(&self) -> &'a str {
        match self {
            Piece::Text(text) => text,
            Piece::Placeholder { default } => default.unwrap_or_default(),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, behind) = after.split_once('}').ok_or_else(|| {
            format!("`${{{after}` is not closed; a placeholder is `${{key}}` or `${{key:default}}`")
        })?;
        pieces.extend([Piece::Text(before), placeholder(inside)?]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn placeholder(inside: &str) -> Result<Piece<'_>, String> {
    let (key, default) = match inside.split_once(':') {
        Some((key, default)) => (key, Some(default)),
        None => (inside, None),
    };
    if inside.contains("${") {
        return Err("a placeholder cannot stand inside another".to_owned());
    }
    if key.is_empty() {
        return Err("a placeholder without a key; write `${key}` or `${key:default}`".to_owned());
    }
    if !key.split('.').all(is_key_part) {
        return Err(format!(
            "`{key}` is not a key of the settings; a placeholder is `${{key}}` or `${{key:default}}`, and a key has \
             letters, digits, `_` and `-`, with dots between"
        ));
    }
    Ok(Piece::Placeholder { default })
}

fn is_topic_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-')
}

fn is_key_part(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_closed_and_has_a_key() {
        for broken in ["${", "a${b", "${}", "${:x}", "${a b}", "${a..b}", "${a:${b}}"] {
            assert!(placeholders(broken).is_err(), "{broken}");
        }
        for fine in ["billing", "a$b", "${a}", "${a.b-c_D:x y:z}", "${a}${b}", "}"] {
            assert_eq!(placeholders(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_stands_outside_of_placeholders_is_checked_like_the_rest() {
        assert_eq!(topic("event.${tenant}.order"), Ok(()));
        assert_eq!(topic("${prefix:}order"), Ok(()));
        assert!(topic("event ${tenant}").expect_err("a space").starts_with("' ' cannot stand"));
        assert!(topic("${prefix:a/b}").expect_err("a slash in the default").starts_with("'/' cannot stand"));
        assert!(topic("$order").expect_err("a dollar alone").starts_with("'$' cannot stand"));
    }

    #[test]
    fn a_topic_is_neither_a_dot_nor_two_nor_too_long() {
        assert!(topic(".").is_err() && topic("..").is_err() && topic("...").is_ok());
        assert!(topic(&"a".repeat(LONGEST_TOPIC)).is_ok());
        assert!(topic(&"a".repeat(LONGEST_TOPIC + 1)).is_err());
        assert!(
            topic(&format!("${{key:{}}}", "a".repeat(LONGEST_TOPIC + 1))).is_ok(),
            "the default may not be used"
        );
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["topic", "topics", "group", "id"];
        assert_eq!(nearest("topik", known), Some("topic"));
        assert_eq!(nearest("Groups", known), Some("group"));
        assert_eq!(nearest("partition", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
