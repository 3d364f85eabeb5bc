//! The rooms of `eos-runtime`: calls run one way, and each foreign crate is named in one room only. It reads the `use`
//! lines; whoever wants a new door says so here, and in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms a room may use. A room that is not named here is `app`'s alone.
const DOORS: [(&str, &[&str]); 24] = [
    ("deliveries", &[]),
    ("error", &["settings", "extract"]),
    ("settings", &["error"]),
    ("record", &[]),
    ("attributes", &[]),
    ("fault", &[]),
    ("finding", &[]),
    ("trace", &["record"]),
    ("metrics", &[]),
    ("event", &["record", "error"]),
    ("extract", &["event", "record", "error"]),
    ("listener", &["kafka_tx", "extract", "error"]),
    ("kafka_tx", &["store", "source", "settings", "event", "record", "error", "trace"]),
    ("source", &["record", "error"]),
    ("store", &["finding", "listener", "dedupe", "settings", "record", "error", "trace"]),
    ("dedupe", &["settings", "error"]),
    ("kafka", &["finding", "metrics", "source", "settings", "record", "error", "fault"]),
    (
        "consumer",
        &[
            "metrics", "source", "store", "dedupe", "listener", "kafka_tx", "extract", "settings", "record",
            "error", "trace", "fault",
        ],
    ),
    ("dead_letters", &["kafka", "store", "source", "settings", "record", "error", "fault"]),
    ("positions", &["store", "listener"]),
    ("admin", &["consumer", "dead_letters", "outbox", "kafka", "settings"]),
    ("tools", &["finding", "kafka", "settings", "store", "error"]),
    ("outbox", &["metrics", "store", "kafka", "event", "listener", "settings", "record", "error", "fault"]),
    (
        "app",
        &[
            "admin",
            "consumer",
            "dead_letters",
            "dedupe",
            "outbox",
            "kafka",
            "embedded",
            "metrics",
            "source",
            "store",
            "listener",
            "kafka_tx",
            "extract",
            "settings",
            "record",
            "error",
            "testing",
        ],
    ),
];

/// Rooms, or single files, that may name a crate.
const CRATES: [(&str, &[&str]); 5] = [
    ("axum", &["admin"]),
    ("metrics_exporter_prometheus", &["admin"]),
    ("rdkafka", &["kafka"]),
    ("redis", &["dedupe"]),
    // A service hands its own pools and errors to the outermost files of other rooms.
    (
        "sqlx",
        &[
            "store",
            "app/target.rs",
            "app/open.rs",
            "error.rs",
            "consumer",
            "dead_letters/mod.rs",
            "dead_letters/parked.rs",
            "dead_letters/publish.rs",
            "positions",
            "tools/database.rs",
            "outbox/method.rs",
            "outbox/scope.rs",
            "outbox/refused.rs",
            "outbox/transaction.rs",
            "outbox/relay/reader.rs",
            "outbox/relay/member.rs",
            "outbox/depth.rs",
        ],
    ),
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Each file by its path below `src`, with its code: no tests, no comments.
fn code() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eos-runtime/src");
    let mut found = Vec::new();
    files(&src, &mut found);
    let mut code = BTreeMap::new();
    for path in found {
        let name = path.strip_prefix(&src).expect("below it").to_string_lossy().into_owned();
        if name.contains("tests") || name.contains("conformance") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.insert(name, lines.collect::<Vec<_>>().join("\n"));
    }
    assert!(code.len() > 100, "the source is where it is looked for");
    code
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// The first names behind each `word` in the text.
fn named<'t>(text: &'t str, word: &str) -> BTreeSet<&'t str> {
    let first = |rest: &'t str| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    };
    text.match_indices(word)
        .map(|(at, _)| first(&text[at + word.len()..]))
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn calls_run_one_way() {
    let doors: BTreeMap<_, _> = DOORS.into_iter().collect();
    let mut wrong = Vec::new();
    for (file, text) in code() {
        let from = room(&file);
        if matches!(from, "lib" | "__private" | "testing") {
            continue;
        }
        let known = doors.get(from).unwrap_or_else(|| panic!("the room `{from}` is not in the list"));
        for to in named(&text, "crate::") {
            // Names that lib.rs exports are everybody's.
            let exported = to.starts_with(|c: char| c.is_uppercase());
            if to != from && !exported && !known.contains(&to) {
                wrong.push(format!("{file} uses `crate::{to}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "doors that are not in the list:\n{}", wrong.join("\n"));
}

#[test]
fn each_foreign_crate_has_its_room() {
    let mut wrong = Vec::new();
    for (file, text) in code() {
        for (name, rooms) in CRATES {
            let here = rooms.iter().any(|place| *place == room(&file) || *place == file);
            if !here && text.contains(&format!("{name}::")) {
                wrong.push(format!("{file} names `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "crates outside of their rooms:\n{}", wrong.join("\n"));
}
