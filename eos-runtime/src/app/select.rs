//! Which of the linked listeners run: the application's patterns, then the settings' `enabled`.

use std::collections::BTreeMap;

use super::glob;
use crate::listener::spec::ListenerSpec;
use crate::settings::{Found, ListenerOverride, either, nearest};

/// What decides which listeners run.
pub(super) struct Selection<'a> {
    /// `.listeners([…])`; `None` is all.
    pub(super) patterns: Option<&'a [String]>,
    /// `.expect([…])`.
    pub(super) expected: &'a [String],
    /// `[listeners."<id>"]`.
    pub(super) overrides: &'a BTreeMap<String, ListenerOverride>,
}

/// What a linker does to a crate that nobody names, and what helps.
const HINT: &str = "if listeners live in a crate of their own, name it once, as in `use handlers as _;`, or the linker leaves it out";

impl Selection<'_> {
    /// The listeners that run, sorted by id: the inventory has no order of its own.
    pub(super) fn choose(
        &self,
        mut linked: Vec<&'static ListenerSpec>,
        found: &Found,
    ) -> Vec<&'static ListenerSpec> {
        linked.sort_by_key(|spec| spec.id);
        duplicates(&linked, found);
        self.unknown_names(&linked, found);
        if linked.is_empty() {
            found.add(format!("there is no listener to run: put `#[kafka_listener]` on an async fn; {HINT}"));
            return linked;
        }
        let chosen: Vec<_> =
            linked.into_iter().filter(|spec| self.wants(spec.id) && self.enabled(spec.id)).collect();
        if chosen.is_empty() {
            found.add(
                "there is nothing to do: every listener is left out by `.listeners(…)` or `enabled = false`",
            );
        }
        chosen
    }

    fn wants(&self, id: &str) -> bool {
        self.patterns.is_none_or(|patterns| patterns.iter().any(|pattern| glob::matches(pattern, id)))
    }

    fn enabled(&self, id: &str) -> bool {
        self.overrides.get(id).is_none_or(|listener| listener.enabled)
    }

    /// Names in the program and in the settings that no linked listener has.
    fn unknown_names(&self, linked: &[&'static ListenerSpec], found: &Found) {
        let ids = || linked.iter().map(|spec| spec.id);
        for pattern in self.patterns.unwrap_or_default() {
            if !ids().any(|id| glob::matches(pattern, id)) && !linked.is_empty() {
                found.add(format!(
                    "`.listeners(…)`: no listener matches `{pattern}`; there are {}",
                    and(ids())
                ));
            }
        }
        for id in self.overrides.keys().filter(|id| !ids().any(|known| known == *id)) {
            let near = match nearest(id, ids()) {
                near if near.is_empty() && !linked.is_empty() => format!("; there are {}", and(ids())),
                near => near,
            };
            found.add(format!("`[listeners.\"{id}\"]`: this program has no such listener{near}"));
        }
        for id in self.expected {
            if !ids().any(|known| known == id) {
                found.add(format!("`.expect(…)`: there is no listener `{id}`{}; {HINT}", nearest(id, ids())));
            } else if !self.wants(id) {
                found.add(format!("`.expect(…)`: `{id}` is left out by `.listeners(…)`"));
            } else if !self.enabled(id) {
                found.add(format!(
                    "`.expect(…)`: `{id}` is left out by `[listeners.\"{id}\"] enabled = false`"
                ));
            }
        }
    }
}

/// Ids must be different, since settings and logs use them.
fn duplicates(sorted: &[&'static ListenerSpec], found: &Found) {
    for pair in sorted.windows(2) {
        if let [a, b] = pair
            && a.id == b.id
        {
            found.add(format!(
                "two listeners have the id `{}` ({}:{} and {}:{}); give one of them `id = \"…\"`",
                a.id, a.file, a.line, b.file, b.line
            ));
        }
    }
}

fn and<'a>(words: impl Iterator<Item = &'a str>) -> String {
    either(words).replace(" or ", " and ")
}
