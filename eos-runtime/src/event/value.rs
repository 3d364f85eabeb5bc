//! What a key and a header are made of: text, numbers, ids and bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

/// What an event's key and headers are made of.
///
/// Text is its UTF-8, integers and booleans are written as text, a [`Uuid`] as its 36 characters, bytes are as they
/// are; `None` is a record without key, or without that header. [`Key<T>`](crate::Key) reads back what was text.
///
/// ```
/// use eos_runtime::EventValue;
///
/// /// Orders of one customer in one shop stay in order.
/// struct Account { shop: String, customer: u32 }
///
/// impl EventValue for Account {
///     fn to_bytes(&self) -> Option<bytes::Bytes> {
///         format!("{}/{}", self.shop, self.customer).to_bytes()
///     }
/// }
/// assert_eq!(Account { shop: "eu".to_owned(), customer: 7 }.to_bytes().as_deref(), Some(&b"eu/7"[..]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an event's key or header",
    label = "a key or a header is text, an integer, a `bool`, a `Uuid`, bytes, or an `Option` of one",
    note = "name a field inside of it (`key = order.id`), write an expression (`key = self.order.to_string()`), or \
            implement `eos_runtime::EventValue` for it"
)]
pub trait EventValue {
    /// Its bytes, where it has a value.
    fn to_bytes(&self) -> Option<Bytes>;

    /// The same of one that is not needed any more: what is bytes already is not copied.
    fn into_bytes(self) -> Option<Bytes>
    where
        Self: Sized,
    {
        self.to_bytes()
    }
}

impl<T: EventValue + ?Sized> EventValue for &T {
    fn to_bytes(&self) -> Option<Bytes> {
        (**self).to_bytes()
    }
}

impl<T: EventValue> EventValue for Option<T> {
    fn to_bytes(&self) -> Option<Bytes> {
        self.as_ref()?.to_bytes()
    }

    fn into_bytes(self) -> Option<Bytes> {
        self?.into_bytes()
    }
}

impl EventValue for Bytes {
    fn to_bytes(&self) -> Option<Bytes> {
        Some(self.clone())
    }

    fn into_bytes(self) -> Option<Bytes> {
        Some(self)
    }
}

impl EventValue for Vec<u8> {
    fn to_bytes(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(self))
    }

    fn into_bytes(self) -> Option<Bytes> {
        Some(self.into())
    }
}

impl EventValue for String {
    fn to_bytes(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(self.as_bytes()))
    }

    fn into_bytes(self) -> Option<Bytes> {
        Some(self.into())
    }
}

impl<const N: usize> EventValue for [u8; N] {
    fn to_bytes(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(self))
    }
}

macro_rules! are_bytes {
    ($($ty:ty),* $(,)?) => { $(
        impl EventValue for $ty {
            fn to_bytes(&self) -> Option<Bytes> {
                Some(Bytes::copy_from_slice(self.as_ref()))
            }
        }
    )* };
}

are_bytes!([u8], Box<[u8]>, Arc<[u8]>, Cow<'_, [u8]>);

macro_rules! are_text {
    ($($ty:ty),* $(,)?) => { $(
        impl EventValue for $ty {
            fn to_bytes(&self) -> Option<Bytes> {
                Some(self.to_string().into())
            }
        }
    )* };
}

are_text!(str, Box<str>, Arc<str>, Cow<'_, str>, Uuid, bool);
are_text!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl EventValue) -> Option<Vec<u8>> {
        value.to_bytes().map(|bytes| bytes.to_vec())
    }

    #[test]
    fn text_numbers_and_ids_are_what_a_person_would_write() {
        assert_eq!(written("größe"), Some("größe".as_bytes().to_vec()));
        assert_eq!(written(String::new()), Some(Vec::new()));
        assert_eq!(written(i64::MIN), Some(b"-9223372036854775808".to_vec()));
        assert_eq!(written(true), Some(b"true".to_vec()));
        assert_eq!(written(Uuid::nil()), Some(b"00000000-0000-0000-0000-000000000000".to_vec()));
    }

    #[test]
    fn bytes_are_as_they_are() {
        let bytes = [0x00, 0xff];
        let expected = Some(bytes.to_vec());
        assert_eq!(written(bytes), expected);
        assert_eq!(written(&bytes[..]), expected);
        assert_eq!(written(bytes.to_vec()), expected);
        assert_eq!(Some(bytes.to_vec()).into_bytes().as_deref(), Some(&bytes[..]));
        assert_eq!(written(Bytes::copy_from_slice(&bytes)), expected);
    }

    #[test]
    fn nothing_is_not_an_empty_text() {
        assert_eq!(written(None::<&str>), None);
        assert_eq!(written(Some(Some(""))), Some(Vec::new()));
        assert_eq!(written(Some(None::<u8>)), None);
    }
}
