//! An event as a parameter: the payload of a record that does not say it is something else.

use super::data::DoesNotParse;
use super::{Delivery, Rejection};
use crate::event::{Event, TYPE_HEADER};

impl Delivery<'_> {
    /// The payload as an event; `None` is a tombstone.
    ///
    /// A record whose header `type` names another type than [`E::TYPE`](Event::TYPE) is not read as this one, however
    /// well its payload would fit; one without the header, or with an empty one, is. A tombstone has no payload that could
    /// be of another type, so its header is not looked at.
    ///
    /// # Errors
    /// [Poison](Rejection::poison), where the record is another type of event or its payload does not parse.
    pub fn event<E: Event>(&self) -> Result<Option<E>, Rejection> {
        let Some(payload) = self.record.payload() else { return Ok(None) };
        match self.record.header(TYPE_HEADER) {
            Some(said) if !said.is_empty() && said != E::TYPE.as_bytes() => {
                Err(Rejection::poison(AnotherType {
                    said: String::from_utf8_lossy(said).into_owned(),
                    wanted: E::TYPE,
                }))
            }
            Some(_) | None => E::decode(payload).map(Some).map_err(|error| {
                Rejection::poison(DoesNotParse { what: "payload", as_what: E::TYPE, error })
            }),
        }
    }
}

/// What `#[derive(Event)]` prints for `from_record`.
///
/// # Errors
/// As of [`Delivery::event`], and for a tombstone.
pub fn event<E: Event>(delivery: &Delivery<'_>) -> Result<E, Rejection> {
    delivery.event()?.ok_or_else(|| {
        Rejection::poison(format!(
            "the payload is null (a tombstone); take the `{}` as an `Option` to handle tombstones",
            E::TYPE
        ))
    })
}

/// The topic of a listener that names none: its event's.
///
/// # Panics
/// Where not exactly one parameter is an event. That is an error of the compiler, since a listener's record is a constant.
#[track_caller]
pub const fn topic_of_the_event(parameters: &[Option<&'static str>]) -> &'static str {
    let mut found = None;
    let mut rest = parameters;
    while let [first, others @ ..] = rest {
        match (found, *first) {
            (Some(_), Some(_)) => {
                panic!(
                    "which topic? two parameters are events, each with its own; write \
                     `#[kafka_listener(topic = \"…\")]`"
                )
            }
            (None, topic) => found = topic,
            (Some(_), None) => {}
        }
        rest = others;
    }
    match found {
        Some(topic) => topic,
        None => panic!(
            "which topic? no parameter is an event (`Json<T>` is none), whose topic it could be; write \
             `#[kafka_listener(topic = \"…\")]`"
        ),
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the record is an event of type `{said}`, as its header `type` says, and the listener takes `{wanted}`; where a \
     topic carries several types, take `&Record`, or `Json<T>` of what they share"
)]
struct AnotherType {
    said: String,
    wanted: &'static str,
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use bytes::Bytes;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::error::BoxError;
    use crate::extract::{FromRecord, States};
    use crate::record::{Record, RecordBuilder};

    #[derive(Debug, PartialEq, eos_macros::Event, Serialize, Deserialize)]
    #[event(topic = "event.order", key = id, type = "OrderPlaced")]
    struct Placed {
        id: u32,
    }

    fn taken<T: FromRecord>(record: RecordBuilder) -> Result<T, Rejection> {
        let record: Record = record.build();
        let (states, id_headers) = (States::default(), []);
        T::from_record(&Delivery { record: &record, attempt: 1, states: &states, id_headers: &id_headers })
    }

    fn record() -> RecordBuilder {
        Record::builder("event.order").payload(r#"{"id":7}"#)
    }

    #[test]
    fn a_record_of_this_type_or_of_none_is_taken() {
        assert_eq!(taken::<Placed>(record()).expect("no header"), Placed { id: 7 });
        assert_eq!(
            taken::<Placed>(record().header("type", "OrderPlaced")).expect("its own"),
            Placed { id: 7 }
        );
        assert_eq!(taken::<Option<Placed>>(record()).expect("no header"), Some(Placed { id: 7 }));
        assert_eq!(taken::<Placed>(record().header("type", "")).expect("Debezium's none"), Placed { id: 7 });
    }

    #[test]
    fn a_record_of_another_type_is_poison_that_names_both() {
        for type_name in ["OrderCancelled", "orderplaced"] {
            let rejection = taken::<Placed>(record().header("type", type_name)).expect_err("another");
            assert!(rejection.fatal);
            let said = rejection.to_string();
            assert!(said.contains(&format!("`{type_name}`")) && said.contains("`OrderPlaced`"), "{said}");
            assert!(taken::<Option<Placed>>(record().header("type", type_name)).is_err());
        }
    }

    #[test]
    fn a_tombstone_is_none_whatever_its_header_says() {
        let tombstone = || Record::builder("event.order").header("type", "OrderCancelled");
        assert_eq!(taken::<Option<Placed>>(tombstone()).expect("a tombstone"), None);
        let rejection = taken::<Placed>(tombstone()).expect_err("a tombstone");
        assert!(rejection.fatal);
        assert!(rejection.to_string().contains("as an `Option`"), "{rejection}");
    }

    #[test]
    fn a_payload_that_does_not_parse_is_poison_that_names_the_type() {
        let rejection = taken::<Placed>(Record::builder("event.order").payload("{}")).expect_err("no id");
        assert!(rejection.fatal);
        assert_eq!(rejection.to_string(), "the payload does not parse as OrderPlaced");
        assert!(rejection.source().expect("why").to_string().contains("`id`"));
    }

    #[test]
    fn an_event_by_hand_has_its_own_encoding() {
        struct Beat(u32);

        impl Event for Beat {
            const TOPIC: &'static str = "beat";
            const TYPE: &'static str = "Beat";

            fn key(&self) -> Option<Bytes> {
                None
            }

            fn encode(&self) -> Result<Bytes, BoxError> {
                Ok(Bytes::copy_from_slice(&self.0.to_be_bytes()))
            }

            fn decode(payload: &[u8]) -> Result<Self, BoxError> {
                Ok(Beat(u32::from_be_bytes(payload.try_into()?)))
            }
        }

        impl FromRecord for Beat {
            fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
                event(delivery)
            }
        }

        let payload = Beat(258).encode().expect("four bytes");
        assert_eq!(taken::<Beat>(Record::builder("beat").payload(payload)).expect("a beat").0, 258);
        assert!(taken::<Beat>(Record::builder("beat").payload("short")).is_err());
    }

    #[test]
    fn the_topic_is_that_of_the_one_event() {
        assert_eq!(topic_of_the_event(&[None, Placed::DEFAULT_TOPIC, None]), "event.order");
        assert_eq!(topic_of_the_event(&[Option::<Placed>::DEFAULT_TOPIC]), "event.order");
    }

    #[test]
    #[should_panic(expected = "two parameters are events")]
    fn two_events_are_one_too_many() {
        topic_of_the_event(&[Some("event.order"), None, Some("event.order")]);
    }
}
