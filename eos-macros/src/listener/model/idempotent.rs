//! `idempotent(redis, …)` and `idempotent(database, …)`: where ids are remembered, for how long, and what they are.

use std::time::Duration;

use proc_macro2::Ident;
use syn::{Expr, Lit, LitStr};

use super::places::misplaced;
use super::{IdSource, Idempotent, Medium, OnOutage};
use crate::shared::arguments::{Argument, Value, each, literal};
use crate::shared::mistakes::Mistakes;
use crate::shared::text;
use crate::shared::values::{checked, choice, once_each, string, wrong_kind};

const KNOWN: [&str; 6] = ["redis", "database", "ttl", "id", "lease", "on_outage"];

const TTL_MS: u64 = 7 * 24 * 3600 * 1000;
const LEASE_MS: u64 = 30_000;

impl Idempotent {
    pub(super) fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        let mut read = Idempotent {
            medium: Medium::Redis { ttl_ms: TTL_MS },
            id: IdSource::MessageId,
            lease_ms: LEASE_MS,
            on_outage: OnOutage::default(),
        };
        let before = mistakes.len();
        let inside = match &argument.value {
            Value::Inside(tokens) => each(tokens.clone(), mistakes),
            Value::Absent | Value::Given(_) => Vec::new(),
        };
        let mut places = Places::default();
        for argument in once_each(&inside, mistakes) {
            match argument.word().as_str() {
                "redis" => places.redis = bare(argument, mistakes),
                "database" => places.database = Some((argument.name.clone(), named(argument, mistakes))),
                "ttl" => {
                    let ttl = span(argument, "7d", TTL, mistakes).unwrap_or(TTL_MS);
                    places.ttl = Some((argument.name.clone(), ttl));
                }
                "lease" => read.lease_ms = span(argument, "30s", LEASE, mistakes).unwrap_or(read.lease_ms),
                "id" => read.id = IdSource::read(argument, mistakes),
                "on_outage" => read.on_outage = choice(argument, &ON_OUTAGE, mistakes).unwrap_or_default(),
                _ => {
                    misplaced(argument, &KNOWN, "`idempotent(…)`", mistakes);
                }
            }
        }
        if !places.redis && places.database.is_none() && mistakes.len() == before {
            mistakes.at(
                &argument.name,
                "where are ids remembered? write `idempotent(redis, ttl = \"7d\")`, or `idempotent(database)`",
            );
        }
        read.medium = places.medium(mistakes);
        if matches!(read.medium, Medium::Redis { ttl_ms } if ttl_ms < read.lease_ms) {
            mistakes.at(
                &argument.name,
                "`ttl`, for which an id that was processed is remembered, is shorter than `lease`, for which one is claimed",
            );
        }
        read
    }
}

/// What was said of where ids are remembered, of which there is to be one.
#[derive(Default)]
struct Places {
    redis: bool,
    database: Option<(Ident, Option<LitStr>)>,
    ttl: Option<(Ident, u64)>,
}

impl Places {
    fn medium(self, mistakes: &mut Mistakes) -> Medium {
        let ttl_ms = self.ttl.as_ref().map_or(TTL_MS, |(_, ttl)| *ttl);
        let Some((word, name)) = self.database else { return Medium::Redis { ttl_ms } };
        if self.redis {
            mistakes
                .at(&word, "`redis` and `database` together; ids are remembered in one of them, keep one");
        } else if let Some((ttl, _)) = &self.ttl {
            mistakes.at(
                ttl,
                "`ttl` is for `redis`; an inbox remembers all its ids for as long as `[inbox] retention` of the settings says \
                 (7 days by default)",
            );
        }
        Medium::Database(name)
    }
}

/// `database`, or `database = "orders"` where there are several.
fn named(argument: &Argument, mistakes: &mut Mistakes) -> Option<LitStr> {
    match &argument.value {
        Value::Absent => None,
        Value::Given(_) | Value::Inside(_) => string(argument, "orders", text::name, mistakes),
    }
}

/// Redis takes no value.
fn bare(argument: &Argument, mistakes: &mut Mistakes) -> bool {
    match &argument.value {
        Value::Absent => {}
        Value::Given(value) => mistakes.at(value, PLACE),
        Value::Inside(tokens) if tokens.is_empty() => mistakes.at(&argument.name, PLACE),
        Value::Inside(tokens) => mistakes.at(tokens, PLACE),
    }
    true
}

const PLACE: &str = "`redis` takes no value; where it is stands in the settings, as `[redis] url`";

impl IdSource {
    fn read(argument: &Argument, mistakes: &mut Mistakes) -> Self {
        const TAKES: &str = "`\"message_id\"`, `\"position\"`, `\"key\"`, `header(\"…\")` or `field(\"…\")`";
        let Value::Given(Expr::Call(call)) = &argument.value else {
            if argument.value.literal().is_none() {
                wrong_kind(argument, TAKES, mistakes);
                return IdSource::MessageId;
            }
            return match choice(argument, &SOURCES, mistakes) {
                Some(Source::Position) => IdSource::Position,
                Some(Source::Key) => IdSource::Key,
                Some(Source::MessageId) | None => IdSource::MessageId,
            };
        };
        let is = |name: &str| matches!(&*call.func, Expr::Path(path) if path.path.is_ident(name));
        let is_header = is("header");
        if !is_header && !is("field") {
            wrong_kind(argument, TAKES, mistakes);
            return IdSource::MessageId;
        }
        let only = call.args.first().filter(|_| call.args.len() == 1);
        match only.and_then(literal) {
            Some(Lit::Str(name)) if is_header => match checked(name, header, mistakes) {
                Some(()) => IdSource::Header(name.clone()),
                None => IdSource::MessageId,
            },
            Some(Lit::Str(name)) => match checked(name, field, mistakes) {
                Some(()) => IdSource::Field(name.clone()),
                None => IdSource::MessageId,
            },
            Some(_) | None => {
                mistakes.at(call, "one name in quotes stands in the parentheses: `header(\"order-id\")`");
                IdSource::MessageId
            }
        }
    }
}

fn header(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("a header has a name".to_owned()) } else { Ok(()) }
}

fn field(path: &str) -> Result<(), String> {
    if path.split('.').all(|name| !name.is_empty()) {
        return Ok(());
    }
    Err("a field of the payload is named by its path: `order_id`, `customer.id`".to_owned())
}

#[derive(Debug, Clone, Copy)]
enum Source {
    MessageId,
    Position,
    Key,
}

const SOURCES: [(&str, Source); 3] =
    [("message_id", Source::MessageId), ("position", Source::Position), ("key", Source::Key)];

const ON_OUTAGE: [(&str, OnOutage); 2] = [("wait", OnOutage::Wait), ("process", OnOutage::Process)];

/// The bounds of a duration, and what to say beyond them.
#[derive(Clone, Copy)]
struct Bounds(Duration, Duration, &'static str);

const TTL: Bounds = Bounds(
    Duration::from_secs(1),
    Duration::from_secs(366 * 24 * 3600),
    "an id is remembered for a second to a year",
);
const LEASE: Bounds = Bounds(
    Duration::from_secs(1),
    Duration::from_secs(3600),
    "a lease is a second to an hour; it is renewed while the handler runs, and what a claim outlives its process by",
);

/// A duration in quotes, as milliseconds.
fn span(argument: &Argument, example: &str, bounds: Bounds, mistakes: &mut Mistakes) -> Option<u64> {
    let Some(Lit::Str(given)) = argument.value.literal() else {
        wrong_kind(argument, &format!("a duration in quotes: `{} = {example:?}`", argument.word()), mistakes);
        return None;
    };
    let read = |given: &str| {
        let duration = humantime::parse_duration(given)
            .map_err(|error| format!("`{given}` is not a duration ({error}); write `30s`, `12h` or `7d`"))?;
        let Bounds(least, most, why) = bounds;
        if duration < least || duration > most {
            return Err(why.to_owned());
        }
        u64::try_from(duration.as_millis()).map_err(|error| error.to_string())
    };
    checked(given, read, mistakes)
}
