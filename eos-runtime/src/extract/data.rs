//! What the producer wrote: the payload as JSON, the key as a value.

use std::str::FromStr;

use serde::de::DeserializeOwned;

use super::{Delivery, FromRecord, FromRecordOptional, Rejection};
use crate::error::BoxError;

/// The payload, parsed as JSON.
///
/// A payload that does not parse is poison; a tombstone is too, unless it is taken as `Option<Json<T>>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + Send> FromRecord for Json<T> {
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        Self::from_record_optional(delivery)?.ok_or_else(|| {
            Rejection::poison(
                "the payload is null (a tombstone); take `Option<Json<T>>` to handle tombstones",
            )
        })
    }
}

impl<T: DeserializeOwned + Send> FromRecordOptional for Json<T> {
    fn from_record_optional(delivery: &Delivery<'_>) -> Result<Option<Self>, Rejection> {
        delivery.record.payload().map(|bytes| serde_json::from_slice(bytes).map(Json)).transpose().map_err(
            |error| Rejection::poison(DoesNotParse { what: "payload", as_what: "JSON", error: error.into() }),
        )
    }
}

/// The key as UTF-8 text, parsed by `T`'s `FromStr` (`String`, `Uuid`, integers, your own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Key<T>(pub T);

impl<T> FromRecord for Key<T>
where
    T: FromStr + Send,
    T::Err: Into<BoxError>,
{
    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        Self::from_record_optional(delivery)?.ok_or_else(|| {
            Rejection::poison("the record has no key; take `Option<Key<T>>` to handle records without one")
        })
    }
}

impl<T> FromRecordOptional for Key<T>
where
    T: FromStr + Send,
    T::Err: Into<BoxError>,
{
    fn from_record_optional(delivery: &Delivery<'_>) -> Result<Option<Self>, Rejection> {
        let Some(bytes) = delivery.record.key() else { return Ok(None) };
        let parse = |error: BoxError| {
            Rejection::poison(DoesNotParse { what: "key", as_what: std::any::type_name::<T>(), error })
        };
        let text = std::str::from_utf8(bytes).map_err(|error| parse(error.into()))?;
        text.parse().map(|value| Some(Key(value))).map_err(|error: T::Err| parse(error.into()))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the {what} does not parse as {as_what}")]
pub(super) struct DoesNotParse {
    pub(super) what: &'static str,
    pub(super) as_what: &'static str,
    #[source]
    pub(super) error: BoxError,
}
