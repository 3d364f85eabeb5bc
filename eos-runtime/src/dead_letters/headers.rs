//! The headers of a record in a topic of dead letters: its own, and behind them those that Spring Kafka writes, with the
//! same names and encodings, so that mixed fleets share their tools.
//!
//! What is Spring's alone: the class of the cause, and the type of the timestamp. What is ours alone: `eos-dead-letter`,
//! the number of its row in `eos_dead_letter`. Source: `DeadLetterPublishingRecoverer` of Spring Kafka 3.3, whose own
//! output is beside this file.

use std::borrow::Cow;

use bytes::Bytes;

use crate::source::{LetterToTopic, Output};

/// Names and values, in order.
pub(super) type Headers = Vec<(Cow<'static, str>, Option<Bytes>)>;

/// How much of a letter fits into its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it.
    Whole,
    /// All but the most of its chain of causes.
    ShortError,
    /// Without its payload, which is where the headers say.
    Pointer,
}

impl Form {
    pub(super) const ALL: [Form; 3] = [Form::Whole, Form::ShortError, Form::Pointer];

    /// The most of a chain of causes.
    fn error_bytes(self) -> usize {
        match self {
            Form::Whole => 8 * 1024,
            Form::ShortError | Form::Pointer => 256,
        }
    }

    pub(super) fn payload(self, letter: &LetterToTopic) -> Option<Bytes> {
        match self {
            Form::Whole | Form::ShortError => letter.payload(),
            Form::Pointer => None,
        }
    }
}

/// A letter as an output of the transaction that its record belongs to, in a smaller form each time that it was refused.
pub(crate) fn as_output(letter: &LetterToTopic, refusals: u32) -> Output {
    let form = Form::ALL[(refusals as usize).min(Form::ALL.len() - 1)];
    Output {
        topic: letter.to.as_str().into(),
        key: letter.key().map(Bytes::copy_from_slice),
        payload: form.payload(letter),
        id: None,
        headers: headers(letter, form),
    }
}

/// All headers of a letter.
pub(super) fn headers(letter: &LetterToTopic, form: Form) -> Headers {
    let record = &letter.record;
    let own = letter.headers();
    let mut headers: Headers = own
        .iter()
        .map(|(name, value)| {
            let name = String::from_utf8_lossy(name).into_owned();
            (Cow::Owned(name), value.map(Bytes::copy_from_slice))
        })
        .collect();
    let mut add = |name: &'static str, value: Bytes| headers.push((Cow::Borrowed(name), Some(value)));
    let cut = letter.error.floor_char_boundary(form.error_bytes());
    let error = &letter.error[..cut];
    let class = class(&letter.reason);
    add("kafka_dlt-exception-fqcn", Bytes::copy_from_slice(class.as_bytes()));
    add("kafka_dlt-exception-message", Bytes::copy_from_slice(error.as_bytes()));
    add("kafka_dlt-exception-stacktrace", Bytes::from(format!("{class}: {error}")));
    add("kafka_dlt-original-topic", Bytes::copy_from_slice(record.topic().as_bytes()));
    add("kafka_dlt-original-partition", Bytes::copy_from_slice(&record.partition().to_be_bytes()));
    add("kafka_dlt-original-offset", Bytes::copy_from_slice(&record.offset().to_be_bytes()));
    if record.timestamp().is_some() {
        add("kafka_dlt-original-timestamp", Bytes::copy_from_slice(&record.timestamp_ms().to_be_bytes()));
    }
    add("kafka_dlt-original-consumer-group", Bytes::copy_from_slice(letter.group.as_bytes()));
    if let Some(id) = letter.id {
        add("eos-dead-letter", Bytes::from(id.to_string()));
    }
    headers
}

/// What stands where Spring names a class of exceptions.
fn class(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    "eos.".chars().chain(first).chain(letters).collect()
}

/// About what a broker counts for this record.
pub(super) fn weight(letter: &LetterToTopic, payload: Option<&Bytes>, headers: &Headers) -> usize {
    const ENVELOPE: usize = 512;
    let headers: usize =
        headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len) + 10).sum();
    ENVELOPE + letter.key().map_or(0, <[u8]>::len) + payload.map_or(0, Bytes::len) + headers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::Record;

    fn letter(error: &str) -> LetterToTopic {
        LetterToTopic {
            to: "event.order-dlt".to_owned(),
            record: Record::builder("event.order")
                .at(3, 4_294_967_301)
                .timestamp_ms(1_700_000_000_123)
                .key("key")
                .payload("value")
                .header("message-id", "a")
                .build(),
            group: "billing".into(),
            reason: "poison".to_owned(),
            error: error.to_owned(),
            id: Some(17),
        }
    }

    fn by_name(letter: &LetterToTopic) -> BTreeMap<String, Vec<u8>> {
        let headers = headers(letter, Form::Whole);
        headers
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.unwrap_or_default().to_vec()))
            .collect()
    }

    /// What is about the exception differs in its words; everything else is compared byte for byte.
    #[test]
    fn names_and_encodings_are_springs() {
        let springs: BTreeMap<String, Vec<u8>> = include_str!("spring.txt")
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("key ") && !line.starts_with("value "))
            .filter_map(|line| line.split_once(' '))
            .map(|(name, hex)| {
                let bytes = (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
                (name.to_owned(), bytes.collect())
            })
            .collect();
        let ours = by_name(&letter("no such customer"));
        assert_eq!(springs.len(), 11, "{:?}", springs.keys());
        let theirs_alone = ["kafka_dlt-exception-cause-fqcn", "kafka_dlt-original-timestamp-type"];
        for (name, value) in springs.iter().filter(|(name, _)| !theirs_alone.contains(&name.as_str())) {
            let own = ours.get(name).unwrap_or_else(|| panic!("`{name}` is not written"));
            if name.contains("exception") {
                std::str::from_utf8(value).expect("Spring writes text");
                std::str::from_utf8(own).expect("and so do we");
            } else {
                assert_eq!(own, value, "{name}");
            }
        }
        let ours_alone: Vec<_> = ours.keys().filter(|name| !springs.contains_key(*name)).collect();
        assert_eq!(ours_alone, ["eos-dead-letter"]);
        assert_eq!(ours["kafka_dlt-exception-fqcn"], b"eos.Poison");
    }

    #[test]
    fn a_long_chain_of_causes_is_cut_and_a_large_payload_left_out_in_the_end() {
        let letter = letter(&"ö".repeat(20_000));
        let weights: Vec<usize> = Form::ALL
            .iter()
            .map(|form| weight(&letter, form.payload(&letter).as_ref(), &headers(&letter, *form)))
            .collect();
        assert!(weights.is_sorted_by(|one, next| one > next), "{weights:?}");
        assert!(weights[2] < 2_000, "{weights:?}");
        assert_eq!(Form::Pointer.payload(&letter), None);
    }
}
