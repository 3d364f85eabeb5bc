//! The quickstart: a service is killed again and again in mid-work, and in the end its work is counted.
//!
//! ```text
//! cargo run -p quickstart                 # needs no servers
//! cargo run -p quickstart -- --help
//! ```
//!
//! | file | its part |
//! |---|---|
//! | `service.rs` | the service: the program that a user of eos writes |
//! | `orders.rs` | what is ordered, and what is sent twice |
//! | `broker.rs` | the topic, in the in-process broker or a real one |
//! | `database.rs` | the table, in a SQLite file or on a real server |
//! | `supervisor.rs`, `kills.rs` | starts services, kills them, starts new ones; when |
//! | `diary.rs` | a line for each run of a handler, which outlives a SIGKILL |
//! | `tally.rs`, `report.rs` | what the database and the diary say in the end, and how it is told |

mod arguments;
mod broker;
mod database;
mod diary;
mod kills;
mod orders;
mod report;
mod service;
mod supervisor;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Role};
use crate::broker::Broker;
use crate::database::Database;
use crate::diary::Diary;
use crate::kills::Kills;
use crate::orders::Orders;
use crate::report::Report;
use crate::service::Listener;
use crate::supervisor::Supervisor;
use crate::tally::{Done, Tally, applied};

/// Exits with 0 when every order was applied once, with 1 when one was lost or applied twice, with 2 on any trouble.
#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.role {
        Some(Role::Service { listener }) => service::run(listener).await.map(|()| true),
        None => demonstrate(&arguments).await.map(|tally| tally.is_once_each()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("quickstart: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Makes a place in a database, and afterwards removes it, however the rest went.
async fn demonstrate(arguments: &Arguments) -> anyhow::Result<Tally> {
    // All that is made on somebody's servers has this name, and nothing else there is touched.
    let name = format!("eos_quickstart_{:08x}", fastrand::u32(..));
    let database = Database::create(arguments.database_url.as_deref(), &name).await?;
    let tally = with_database(arguments, &name, &database).await;
    if !arguments.keep {
        database.remove().await?;
    }
    tally
}

/// Makes a topic, plays, tells, and removes the topic, however the play ended.
async fn with_database(arguments: &Arguments, name: &str, database: &Database) -> anyhow::Result<Tally> {
    let broker = Broker::start(arguments.brokers.as_deref(), name).await?;
    let report = Report::new(arguments)?;
    report.opening(&broker, database)?;
    let tally = tokio::select! {
        tally = play(arguments, &broker, database, &report) => tally,
        by = stopped() => by.and_then(|by| Err(anyhow!("stopped by {by}"))),
    };
    if let Ok(tally) = &tally {
        report.closing(tally, database)?;
    }
    if !arguments.keep {
        broker.remove().await?;
    }
    tally
}

/// What somebody stopped us by.
async fn stopped() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed.map(|()| "Ctrl-C")?),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

/// Orders come, services work and die, until every order is applied and every kill is done; then rows are counted.
async fn play(
    arguments: &Arguments,
    broker: &Broker,
    database: &Database,
    report: &Report<'_>,
) -> anyhow::Result<Tally> {
    let begun = Instant::now();
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    let mut orders = Orders::new(arguments.records, &mut random);
    let mut kills = Kills::new(arguments.kills, arguments.records, random);

    let folder = tempfile::Builder::new().prefix("eos-quickstart-run-").tempdir()?;
    let diary = Diary::open(&folder.path().join("diary"))?;
    let listener = Listener::choose(database.home(), arguments.at_least_once);
    let settings = [broker.settings(), database.settings()].concat();
    let mut services = Supervisor::start(listener, settings, &diary, folder.path())?;

    let mut runs = 0;
    while !(orders.all_sent() && kills.all_done() && applied(database).await? == orders.sent_unique()) {
        broker.send(orders.next(runs)).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        runs = diary.runs()?;
        report.progress(runs, &kills);
        services.expect_all_alive()?;
        if kills.is_due(runs) {
            let victim = services.kill_one(kills.aim().await).await?;
            report.killed(&victim, runs)?;
        }
        if let Some(logs) = services.standstill(runs) {
            // An order that is not applied by now counts as lost.
            eprintln!("{logs}");
            break;
        }
    }
    services.stop().await?;

    let done = Done {
        produced: orders.sent(),
        unique: orders.sent_unique(),
        runs: diary.runs()?,
        kills: kills.done(),
        seed: arguments.seed,
        took: begun.elapsed(),
    };
    Tally::count(done, listener, database).await
}
