//! Headers as the table holds them: JSON, so that people and plain SQL can read and write them.
//!
//! An object where every header has a name of its own and a text: `{"tenant":"acme"}`. Otherwise a list of pairs in
//! order, where a value is a text, null, or bytes: `[["a","1"],["a",null],["b",{"base64":"/wA="}]]`. A name that is no
//! text, which Kafka lets pass, is written as bytes as well. All of them are read.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::BoxError;
use crate::record::Headers;

/// Headers as text; `None` where there are none.
///
/// # Errors
/// None that headers can cause.
pub(crate) fn write(headers: &Headers) -> Result<Option<String>, BoxError> {
    if headers.is_empty() {
        return Ok(None);
    }
    let pairs: Vec<(Value<'_>, Value<'_>)> =
        headers.iter().map(|(name, value)| (Value::of(Some(name)), Value::of(value))).collect();
    let simple = pairs.iter().enumerate().all(|(at, (name, value))| {
        matches!((name, value), (Value::Text(_), Value::Text(_)))
            && pairs[..at].iter().all(|(earlier, _)| earlier != name)
    });
    Ok(Some(if simple { serde_json::to_string(&Object(&pairs)) } else { serde_json::to_string(&pairs) }?))
}

/// The headers that a text says.
///
/// # Errors
/// Why it does not.
pub(crate) fn read(text: &str) -> Result<Headers, serde_json::Error> {
    serde_json::from_str::<Pairs>(text).map(|pairs| Headers::of_entries(pairs.0))
}

/// One header's name or value on its way into the text.
#[derive(Debug, PartialEq)]
enum Value<'a> {
    Null,
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn of(value: Option<&'a [u8]>) -> Self {
        match value.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
            None => Value::Null,
            Some(Ok(text)) if !text.contains('\0') => Value::Text(text),
            Some(Ok(text)) => Value::Bytes(text.as_bytes()),
            Some(Err(bytes)) => Value::Bytes(bytes),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => to.serialize_unit(),
            Value::Text(text) => to.serialize_str(text),
            Value::Bytes(bytes) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("base64", &BASE64.encode(bytes))?;
                map.end()
            }
        }
    }
}

struct Object<'a>(&'a [(Value<'a>, Value<'a>)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What was read, in order.
struct Pairs(Vec<(Bytes, Option<Bytes>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts, or a list of pairs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, Read(value))) = map.next_entry::<String, _>()? {
                    pairs.push((name.into(), value));
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Read(name), Read(value))) = list.next_element::<(Read, Read)>()? {
                    pairs.push((name.ok_or_else(|| A::Error::custom("a header without a name"))?, value));
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_any(Either)
    }
}

/// A value as it is read: also numbers and booleans, as whoever writes JSON by hand may have them.
struct Read(Option<Bytes>);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde_json::Value as Json;
        Ok(Read(match Json::deserialize(from)? {
            Json::Null => None,
            Json::String(text) => Some(text.into()),
            Json::Bool(value) => Some(value.to_string().into()),
            Json::Number(number) => Some(number.to_string().into()),
            Json::Object(object) => match object.get("base64").and_then(Json::as_str) {
                Some(text) if object.len() == 1 => {
                    Some(BASE64.decode(text).map_err(D::Error::custom)?.into())
                }
                Some(_) | None => {
                    return Err(D::Error::custom("a value is a text, null, or {\"base64\": \"…\"}"));
                }
            },
            Json::Array(_) => {
                return Err(D::Error::custom("a value is a text, null, or {\"base64\": \"…\"}"));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, Option<&[u8]>)]) -> Headers {
        let entries = pairs.iter().map(|(name, value)| {
            (Bytes::copy_from_slice(name.as_bytes()), value.map(Bytes::copy_from_slice))
        });
        Headers::of_entries(entries.collect())
    }

    fn there_and_back(pairs: &[(&str, Option<&[u8]>)], text: &str) {
        let written = write(&headers(pairs)).expect("they can be written");
        assert_eq!(written.as_deref(), Some(text));
        let read = read(text).expect("they can be read");
        let read: Vec<_> =
            read.iter().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect();
        let given: Vec<_> =
            pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec))).collect();
        assert_eq!(read, given);
    }

    #[test]
    fn texts_with_names_of_their_own_are_an_object_in_their_order() {
        there_and_back(&[("tenant", Some(b"acme")), ("a", Some(b""))], r#"{"tenant":"acme","a":""}"#);
        assert_eq!(write(&Headers::default()).expect("none"), None);
    }

    #[test]
    fn names_that_repeat_nulls_and_bytes_are_a_list_of_pairs() {
        there_and_back(
            &[("a", Some(b"1")), ("a", None), ("b", Some(&[0xff, 0x00]))],
            r#"[["a","1"],["a",null],["b",{"base64":"/wA="}]]"#,
        );
    }

    #[test]
    fn a_name_that_is_no_text_is_kept_all_the_same() {
        let entries = vec![(Bytes::from_static(&[0xff, 0x00]), Some(Bytes::from_static(b"1")))];
        let written = write(&Headers::of_entries(entries)).expect("it can be written").expect("one header");
        assert_eq!(written, r#"[[{"base64":"/wA="},"1"]]"#);
        let read = read(&written).expect("it can be read");
        assert_eq!(read.iter().next(), Some((&[0xff, 0x00][..], Some(&b"1"[..]))));
        assert!(super::read(r#"[[null,"1"]]"#).is_err());
    }

    #[test]
    fn what_others_write_by_hand_is_read() {
        let read = read(r#"{"cents": 5, "paid": true}"#).expect("numbers are texts");
        assert_eq!((read.get_str("cents"), read.get_str("paid")), (Some("5"), Some("true")));
        assert!(super::read(r#"{"a": ["b"]}"#).is_err());
        assert!(super::read("tenant=acme").is_err());
    }
}
