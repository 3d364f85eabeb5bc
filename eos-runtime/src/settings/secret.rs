//! What is shown to nobody: a database's address is printed without its password, which can be taken out on purpose; any other
//! secret can only be compared with.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A secret, kept as its hash: there is nothing to show.
#[derive(Clone)]
#[cfg_attr(not(feature = "admin"), expect(dead_code, reason = "whoever compares is a feature"))]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    #[expect(clippy::needless_pass_by_value, reason = "nobody is to keep the text")]
    pub(crate) fn new(text: String) -> Self {
        Secret(Sha256::digest(text.as_bytes()).into())
    }

    /// Whether this is it. How long the answer takes says nothing: hashes are compared, and each byte of them.
    #[cfg(feature = "admin")]
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let differences = self.0.iter().zip(given).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(differences) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A password that whoever connects has to know; shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Password(text.into())
    }

    /// The password, for whoever connects.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "whoever connects is a feature"))]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A database's address, shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(String);

impl DatabaseUrl {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        DatabaseUrl(text.into())
    }

    /// The address with its password, for whoever connects.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    /// Shows what cannot be a secret, and less where the address is not well-formed enough to tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str(if self.0.starts_with("sqlite:") { without_query(&self.0) } else { "***" });
        };
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if tail.contains('@') {
            return write!(f, "{scheme}://***");
        }
        match authority.rsplit_once('@') {
            None => write!(f, "{scheme}://{authority}{}", without_query(tail)),
            Some((login, host)) => {
                let user = login.split(':').next().unwrap_or_default();
                let password = if login.contains(':') { ":***" } else { "" };
                write!(f, "{scheme}://{user}{password}@{host}{}", without_query(tail))
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A query can carry `password=`, so none of it is shown.
fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let shown = |url: &str| DatabaseUrl::new(url).to_string();
        assert_eq!(
            shown("postgres://me:hush@db:5432/shop?sslmode=require"),
            "postgres://me:***@db:5432/shop"
        );
        assert_eq!(shown("postgres://me@db/shop"), "postgres://me@db/shop");
        assert_eq!(shown("postgres://db/shop?password=hush"), "postgres://db/shop");
        assert_eq!(shown("sqlite:orders.db?mode=rwc"), "sqlite:orders.db");
    }

    #[test]
    fn an_address_with_an_unescaped_password_shows_none_of_it() {
        for url in [
            "postgres://me:hu/sh@db/shop",
            "postgres://me:hu?sh@db/shop",
            "me:hush@db",
            "postgres://a:h@sh@db",
        ] {
            let shown = format!("{:?}", DatabaseUrl::new(url));
            assert!(!shown.contains("sh@") && !shown.contains("hu"), "{shown}");
        }
    }
}
