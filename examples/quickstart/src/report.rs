//! How it is told: what there is, who was killed, what came of it, and what to try next.

use std::io::{self, Write};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::arguments::Arguments;
use crate::broker::Broker;
use crate::database::{Database, Home};
use crate::kills::Kills;
use crate::supervisor::Service;
use crate::tally::Tally;

/// Whoever looks: a person, or with `--json` a program.
pub(crate) struct Report<'a> {
    arguments: &'a Arguments,
    bar: ProgressBar,
}

impl<'a> Report<'a> {
    /// The bar is drawn on a terminal alone.
    pub(crate) fn new(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let target = if arguments.json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("  {bar:40.cyan} {human_pos} of {human_len} orders, {msg}")?;
        let bar = ProgressBar::with_draw_target(Some(arguments.records.into()), target).with_style(style);
        Ok(Report { arguments, bar })
    }

    pub(crate) fn opening(&self, broker: &Broker, database: &Database) -> io::Result<()> {
        let Arguments { records, kills, seed, .. } = self.arguments;
        let lines = [
            format!(
                "{} orders, one in ten of them sent twice; kills: {kills}; seed: {seed}",
                count(*records)
            ),
            String::new(),
            format!("  broker    {}", broker.place()),
            format!("  database  {}", database.home()),
            String::new(),
        ];
        self.say(&lines)
    }

    pub(crate) fn killed(&self, service: &Service, runs: u64) -> io::Result<()> {
        let Service { number, pid, .. } = service;
        self.say(&[format!(
            "  killed service {number} (pid {pid}) when {} orders had been begun",
            count(runs)
        )])
    }

    pub(crate) fn progress(&self, runs: u64, kills: &Kills) {
        self.bar.set_message(format!("{} of {} kills", kills.done(), self.arguments.kills));
        self.bar.set_position(runs.min(self.arguments.records.into()));
    }

    pub(crate) fn closing(&self, tally: &Tally, database: &Database) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        if self.arguments.json {
            writeln!(io::stdout(), "{}", serde_json::to_string(tally)?)?;
            return Ok(());
        }
        self.say(&table(tally))?;
        self.say(&[verdict(self.arguments, tally)])?;
        self.say(&what_next(self.arguments, database))?;
        Ok(())
    }

    /// To standard output, above the bar.
    fn say(&self, lines: &[String]) -> io::Result<()> {
        if self.arguments.json {
            return Ok(());
        }
        self.bar.suspend(|| lines.iter().try_for_each(|line| writeln!(io::stdout(), "{line}")))
    }
}

fn table(tally: &Tally) -> Vec<String> {
    let Tally { produced, unique, delivered, kills, applied, duplicates, known, rolled_back, .. } = *tally;
    let row =
        |what: &str, number: u64, remark: String| format!("  {what:<32}{:>9}   {remark}", count(number));
    vec![
        String::new(),
        row(
            "produced",
            produced,
            format!("{} orders, {} of them twice", count(unique), count(produced - unique)),
        ),
        row("deliveries", delivered, "an order came to the service, or came again".to_owned()),
        row("kills", kills, "by SIGKILL, in mid-work".to_owned()),
        row("applied", applied, "orders with a row; the table has no unique key".to_owned()),
        row(
            "duplicates that left no trace",
            duplicates,
            format!("{} known by their id, {} rolled back", count(known), count(rolled_back)),
        ),
        row("lost", tally.lost, "orders without a row".to_owned()),
        row("applied twice", tally.applied_twice, "orders with more than one".to_owned()),
        String::new(),
    ]
}

fn verdict(arguments: &Arguments, tally: &Tally) -> String {
    match (tally.is_once_each(), arguments.at_least_once) {
        (true, _) => format!("Every order was applied once. ({} s)", tally.seconds),
        (false, true) => "Without the transaction, this is what becomes of it.".to_owned(),
        (false, false) => format!("That is a bug in eos; please report it, with the seed {}.", tally.seed),
    }
}

fn what_next(arguments: &Arguments, database: &Database) -> Vec<String> {
    const AGAIN: &str = "cargo run -p quickstart --";
    let rows = match (database.home(), database.home().removal()) {
        (Home::Sqlite(file), _) => format!("sqlite3 {} 'select * from orders limit 9'", file.display()),
        (home, Some(removal)) if arguments.keep => format!("{home}; remove it by `{removal}`"),
        _ => "removed again; `--keep` leaves them, and the topic".to_owned(),
    };
    vec![
        String::new(),
        format!("  the rows     {rows}"),
        "  the service  examples/quickstart/src/service.rs".to_owned(),
        format!("  try next     {AGAIN} --at-least-once     # the same without a transaction"),
        format!("               {AGAIN} --records 5000 --kills 20"),
        format!("               {AGAIN} --brokers localhost:9092 --database-url postgres://…"),
    ]
}

/// With commas, and as text, so that it can be aligned.
fn count(number: impl Into<u64>) -> String {
    HumanCount(number.into()).to_string()
}
