//! `eos`: looks into the tables of services built with eos, and mends what waits for a person.
//!
//! | file | its part |
//! |---|---|
//! | `main.rs` | the program |
//! | `arguments/` | what can be asked for, a file for each command, and what `--help` says of it |
//! | `address.rs` | where the database is, and how that is shown without its password |
//! | `database.rs` | a connection to one of three kinds of database, whose tables are there |
//! | `dead_letters.rs`, `change.rs`, `letter.rs` | records set aside: listed; replayed, discarded, edited; shown |
//! | `parked.rs` | records that wait in order behind one of their key |
//! | `outbox.rs` | entries that Kafka refused |
//! | `positions.rs` | how far each group has come |
//! | `reset.rs`, `copy.rs` | a stopped group sent elsewhere, or given another name |
//! | `check.rs`, `check/system.rs` | everything that a service depends on, looked at |
//! | `brokers.rs` | a Kafka that answers, and whether a group runs there |
//! | `migrate.rs` | makes the tables |
//! | `table.rs`, `print.rs` | columns for people; times, bytes and JSON; the only place that writes to standard output |
//!
//! What was asked for goes to standard output; what went wrong is one sentence on standard error.

mod address;
mod arguments;
mod brokers;
mod change;
mod check;
mod copy;
mod database;
mod dead_letters;
mod found;
mod letter;
mod migrate;
mod outbox;
mod parked;
mod positions;
mod print;
mod reset;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::address::{Address, without_logins};
use crate::arguments::{
    Arguments, Check, Command, DeadLettersCommand, Migrate, OutboxCommand, ParkedCommand, PositionsCommand,
};
use crate::database::Database;
use crate::print::{Form, chain};

/// How it went, where nothing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All that was asked for was done.
    Done,
    /// Something that was named is not there, or cannot be changed any more; it was said which.
    NotThere,
    /// A check found something that is to be mended.
    Found,
}

/// Why nothing was done, where neither the arguments nor a server is to blame: what was named is not there, or runs.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Does what the command line asks for; the program `eos` is this function, and tests run it beside services of theirs.
///
/// Exits with 0 when it is done, 1 when what was named is not there or runs, 2 on wrong arguments and any trouble.
#[must_use = "it is what the process exits with"]
pub async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            // It quotes what was typed, which may be an address in a wrong place.
            eprint!(
                "{}",
                without_logins(
                    &error.to_string(),
                    std::env::args_os().filter_map(|word| word.into_string().ok())
                )
            );
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match run(arguments).await {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::NotThere | Outcome::Found) => ExitCode::from(1),
        Err(error) => {
            eprintln!("eos: {}", chain(error.as_ref()));
            ExitCode::from(if error.is::<Refused>() { 1 } else { 2 })
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Arguments { place, json, command } = arguments;
    let form = if json { Form::Json } else { Form::Text };
    expect_meaning(&command)?;
    if let Command::Check(Check { brokers, topic, old, strict }) = &command {
        let meant = check::Meant { brokers, topics: topic, old: *old };
        return check::run(&place, &meant, *strict, form).await;
    }
    let address = Address::find(&place)?;
    match command {
        // It looks for its databases by itself.
        Command::Check(_) => Ok(Outcome::Done),
        Command::Migrate(Migrate { print }) => migrate::run(&address, print, form).await,
        Command::DeadLetters(command) => {
            dead_letters::run(&Database::open(&address).await?, command, form).await
        }
        Command::Parked(command) => parked::run(&Database::open(&address).await?, &command, form).await,
        Command::Outbox(command) => outbox::run(&Database::open(&address).await?, &command, form).await,
        Command::Positions(PositionsCommand::Show { group, topic }) => {
            positions::show(&Database::open(&address).await?, group.as_deref(), topic.as_deref(), form).await
        }
        Command::Positions(PositionsCommand::Reset(arguments)) => {
            reset::run(&Database::open(&address).await?, &arguments, form).await
        }
        Command::Positions(PositionsCommand::Copy(arguments)) => {
            copy::run(&Database::open(&address).await?, &arguments, form).await
        }
    }
}

/// What is wrong with the arguments is said before a server is asked.
fn expect_meaning(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::DeadLetters(DeadLettersCommand::Replay(meant) | DeadLettersCommand::Discard(meant)) => {
            meant.change.expect_a_filter(&meant.state)
        }
        Command::Parked(ParkedCommand::Retry(change) | ParkedCommand::Discard(change)) => {
            change.expect_a_filter(&[])
        }
        Command::Outbox(OutboxCommand::Retry(which) | OutboxCommand::Discard(which)) => which.expect_some(),
        Command::Positions(PositionsCommand::Copy(copy)) => copy.expect_two_groups(),
        Command::DeadLetters(_)
        | Command::Parked(_)
        | Command::Outbox(_)
        | Command::Positions(_)
        | Command::Check(_)
        | Command::Migrate(_) => Ok(()),
    }
}
