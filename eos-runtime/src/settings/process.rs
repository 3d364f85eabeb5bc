//! What the process's settings say to those who are handed none: a transaction that a service begins on a pool of its
//! own has to know where the outbox is and what a placeholder in a topic means.
//!
//! The application leaves its settings here when it starts. In a program that never runs one, the file and the
//! environment are read at the first question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::{DEFAULT, Database, Environment, File, Found, Given, Settings, Values};

/// What is remembered.
struct Known {
    values: Values,
    databases: BTreeMap<String, Database>,
}

static KNOWN: RwLock<Option<Arc<Known>>> = RwLock::new(None);

/// The application's settings, from here on.
pub(crate) fn keep(values: Values, databases: BTreeMap<String, Database>) {
    let known = Arc::new(Known { values, databases });
    *KNOWN.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
}

/// `text` with each placeholder replaced.
///
/// # Errors
/// Which of them has no value, and how to set it.
pub(crate) fn resolve(text: &str) -> Result<String, String> {
    if text.contains("${") { known().values.resolve(text) } else { Ok(text.to_owned()) }
}

/// The schema that is set for the database at whose address `is_it` nods; otherwise that of the one database that has no
/// address, since the application gives its pool.
pub(crate) fn schema_of(is_it: impl Fn(&str) -> bool) -> Option<String> {
    let known = known();
    let at_this_address = known.databases.values().find(|database| match &database.address {
        Given::As(address) => is_it(address.url.expose()),
        Given::Absent | Given::Mistaken => false,
    });
    let without_address =
        || known.databases.get(DEFAULT).filter(|database| database.address == Given::Absent);
    at_this_address.or_else(without_address)?.schema.clone()
}

fn known() -> Arc<Known> {
    if let Some(known) = &*KNOWN.read().unwrap_or_else(PoisonError::into_inner) {
        return Arc::clone(known);
    }
    let environment = Environment::of_process();
    // Mistakes are for whoever runs an application; here what can be read counts.
    let loaded =
        Settings::load(&File::of(&environment), &environment, &BTreeSet::new(), &Found::default());
    let known = Arc::new(Known { values: loaded.values, databases: loaded.settings.databases });
    let mut kept = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(kept.get_or_insert(known))
}
