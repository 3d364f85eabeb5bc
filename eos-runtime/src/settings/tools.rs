//! The settings as tools read them: the service's own file and environment, with no service to start.

use std::collections::BTreeSet;

use super::reader::Section;
use super::value::{Node, Origin, Table, Value};
use super::{Environment, File, Found, Kafka, Settings};

/// Everything that can be set, and all that is odd about it.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) settings: Settings,
    /// What a service would not start with.
    pub(crate) mistakes: Vec<String>,
    /// What it may not mind: names that look like ours, and those that only its own placeholders could read.
    pub(crate) remarks: Vec<String>,
}

impl Kafka {
    /// `[kafka]` alone, with what is wrong in it, for tools that need nothing else: mistakes in other sections are not theirs.
    /// `servers` counts before what is written.
    pub(crate) fn of_process(servers: Option<&str>) -> (Self, Vec<String>) {
        let (environment, found) = (Environment::of_process(), Found::default());
        let mut root = File::of(&environment).read(&found);
        environment.overlay(&mut root, &Found::default());
        put_servers(&mut root, servers);
        let kafka = Kafka::read(Section::root(&root, &found).section("kafka"));
        (kafka, all(found))
    }
}

impl Settings {
    /// All of them. `servers` counts before what is written.
    pub(crate) fn inspect(servers: Option<&str>) -> Inspected {
        let (environment, found) = (Environment::of_process(), Found::default());
        let mut root = File::of(&environment).read(&found);
        let mut remarks = environment.overlay(&mut root, &found);
        put_servers(&mut root, servers);
        // A service's placeholders may read any table; which ones, only the service knows.
        let any: BTreeSet<String> = root.keys().cloned().collect();
        let settings = Settings::read(Section::root(&root, &found), &any);
        let mistakes = all(found);
        let strictly = Found::default();
        drop(Settings::read(Section::root(&root, &strictly), &BTreeSet::new()));
        remarks.extend(all(strictly).into_iter().filter(|mistake| !mistakes.contains(mistake)));
        Inspected { settings, mistakes, remarks }
    }
}

fn all(found: Found) -> Vec<String> {
    match found.into_mistakes() {
        Ok(()) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(str::to_owned).collect(),
    }
}

/// What `--kafka` says, where it is said.
fn put_servers(root: &mut Table, servers: Option<&str>) {
    let Some(servers) = servers else { return };
    let origin = Origin::Variable("--kafka".into());
    let node = Node { value: Value::Text(servers.to_owned()), origin: origin.clone() };
    let kafka =
        root.entry("kafka".to_owned()).or_insert_with(|| Node { value: Value::Table(Table::new()), origin });
    if let Value::Table(kafka) = &mut kafka.value {
        kafka.insert("bootstrap_servers".to_owned(), node);
    }
}
