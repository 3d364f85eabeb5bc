//! `eos check`: everything that a service depends on, looked at; what is wrong is said with how to mend it.
//!
//! Every look is made, whatever another found: a server that does not answer is a finding, and no end.

mod system;

use std::time::Duration;

use eos_runtime::tools::{Finding, Health, Settings};
use serde_json::{Value, json};

use crate::Outcome;
use crate::address::Address;
use crate::arguments::{Brokers, Place};
use crate::print::{Form, count, harmless};
use crate::table::{Align, Table};

/// What was found, with where: `settings`, `database default`, `kafka`.
type Findings = Vec<(String, Finding)>;

/// What is asked for beside what the settings name.
pub(crate) struct Meant<'a> {
    pub(crate) brokers: &'a Brokers,
    pub(crate) topics: &'a [String],
    /// Transactions of this age are reported.
    pub(crate) old: Duration,
}

pub(crate) async fn run(
    place: &Place,
    meant: &Meant<'_>,
    strict: bool,
    form: Form,
) -> anyhow::Result<Outcome> {
    let settings = Settings::read(meant.brokers.kafka.as_deref());
    let mut findings = Findings::new();
    let databases = databases(place, &settings, &mut findings);
    findings.extend(settings.findings.iter().map(|finding| ("settings".to_owned(), finding.clone())));
    let reached = system::databases(&databases, meant, &mut findings).await;
    system::kafka(meant, &reached, settings.dead_letter_topics, &mut findings).await;

    let worst = findings.iter().map(|(_, finding)| finding.health).max().unwrap_or(Health::Ok);
    form.say(&text(&findings), || as_json(&findings, worst))?;
    Ok(match worst {
        Health::Problem => Outcome::Found,
        Health::Warning if strict => Outcome::Found,
        Health::Warning | Health::Ok => Outcome::Done,
    })
}

/// The one that `--database-url` names, or all that the settings name.
fn databases(place: &Place, settings: &Settings, findings: &mut Findings) -> Vec<(String, Address)> {
    let mut databases = Vec::new();
    let mut add = |name: &str, address: anyhow::Result<Address>| {
        let name = format!("database {name}");
        match address {
            Ok(address) => databases.push((name, address)),
            Err(error) => findings.push((name, Finding::problem("address", format!("{error:#}")))),
        }
    };
    if place.database_url.is_some() {
        add("default", Address::find(place));
    } else if settings.databases.is_empty() {
        let says = "none is named; that is right where all listeners are plain, and nothing is published: otherwise set \
                    `[database] url` (`EOS_DATABASE_URL`), or give `--database-url`";
        findings.push(("database".to_owned(), Finding::warning("address", says)));
    } else {
        for named in &settings.databases {
            let by_argument = place.schema.clone().map(|schema| (schema, "`--schema`".to_owned()));
            let by_setting = named.schema.clone().map(|schema| (schema, "the settings' `schema`".to_owned()));
            let schema = by_argument.or(by_setting);
            add(&named.name, Address::at(named.url.clone(), schema, named.setting.clone()));
        }
    }
    databases
}

fn text(findings: &Findings) -> String {
    let mut table = Table::new([
        ("STATE", Align::Left),
        ("WHERE", Align::Left),
        ("WHAT", Align::Left),
        ("FOUND", Align::Left),
    ]);
    for (place, finding) in findings {
        let mut lines = wrap(&harmless(&finding.says)).into_iter();
        let first = lines.next().unwrap_or_default();
        table.row([word(finding.health).to_owned(), harmless(place), harmless(&finding.what), first]);
        for line in lines {
            table.row([String::new(), String::new(), String::new(), line]);
        }
    }
    let many = |health| findings.iter().filter(|(_, finding)| finding.health == health).count() as u64;
    let said = match (many(Health::Problem), many(Health::Warning)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("no problem, and {}", count(warnings, "warning")),
        (problems, 0) => count(problems, "problem"),
        (problems, warnings) => format!("{} and {}", count(problems, "problem"), count(warnings, "warning")),
    };
    format!("{}\n{said}", table.text())
}

/// A sentence in lines of a bearable length.
fn wrap(text: &str) -> Vec<String> {
    const LONGEST: usize = 90;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = |line: &String| !line.is_empty() && line.chars().count() + word.chars().count() >= LONGEST;
        if lines.last().is_some_and(full) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn as_json(findings: &Findings, worst: Health) -> Value {
    let finding = |(place, finding): &(String, Finding)| json!({ "state": word(finding.health), "where": place, "what": finding.what, "found": finding.says });
    json!({ "state": word(worst), "findings": findings.iter().map(finding).collect::<Vec<_>>() })
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Warning => "warning",
        Health::Problem => "problem",
    }
}
