//! What can be asked for on the command line: a file for each command. The comments of fields are what `--help` says.

mod check;
mod dead_letters;
mod migrate;
mod outbox;
mod parked;
mod place;
mod positions;
mod set_aside;

use clap::{Parser, Subcommand};

pub(crate) use self::check::Check;
pub(crate) use self::dead_letters::{DeadLettersCommand, Payload};
pub(crate) use self::migrate::Migrate;
pub(crate) use self::outbox::{OutboxCommand, Which};
pub(crate) use self::parked::ParkedCommand;
pub(crate) use self::place::{Brokers, Place};
pub(crate) use self::positions::{Copy, Goal, PositionsCommand, Reset};
pub(crate) use self::set_aside::{Change, Filters, StateName};

const AFTER_HELP: &str = "\
Where the database is: --database-url, else the variable EOS_DATABASE_URL, else `url` under [database] in eos.toml (or in the \
file that EOS_CONFIG names), else DATABASE_URL: as for a service. The schema: --schema, else EOS__DATABASE__SCHEMA, else `schema` under \
[database], else `public` on PostgreSQL and nothing elsewhere.

Exit code:
  0  done; an empty list is done, too, and so is a check that finds no problem
  1  what was named is not there, as in `show 17` where there is no 17; a group that is to be moved runs; a check found a problem
  2  wrong arguments, or trouble: no server, no tables, no right

First steps on call:
  eos check                                           what is wrong, and how to mend it
  eos dead-letters list                               what could not be handled, and why
  eos dead-letters show 17                            everything about one of them
  eos dead-letters replay --group billing --dry-run   what would be handled again
  eos parked list                                     what waits for its turn, and behind what
  eos outbox list                                     what Kafka refused
  eos positions show --group billing                  how far the group has come

While the group is stopped:
  eos positions reset --group billing --to 2h --dry-run              what handling the last two hours again would do
  eos positions copy --from-group billing --to-group invoicing       rename a group without doing anything twice";

/// Looks into the tables of services built with eos, and mends what waits for a person
///
/// Most of it needs only the database: services go on running, and what it changes are marks on rows, which they act upon
/// within seconds. What moves a group, or checks a system, asks Kafka too.
#[derive(Debug, Parser)]
#[command(name = "eos", version, arg_required_else_help = true, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,

    /// Print JSON for scripts in place of text for people
    #[arg(long, global = true, help_heading = None::<&'static str>)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Records that no attempt could handle: list, show, edit, replay, discard
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),

    /// Records that wait in order behind one of their key that failed: list, retry, discard
    #[command(subcommand)]
    Parked(ParkedCommand),

    /// Events that Kafka refused: list, retry, discard
    #[command(subcommand)]
    Outbox(OutboxCommand),

    /// How far each group has come: show; of a stopped one also reset, copy
    #[command(subcommand)]
    Positions(PositionsCommand),

    /// Look at everything that a service depends on, and say what is wrong with it, and how to mend it
    ///
    /// It reads the settings as a service would, here and now, asks the databases and Kafka that they name, and looks at
    /// tables, rights, long transactions, topics, and at each group's positions in them. It changes nothing. Everything is
    /// looked at, whatever else fails.
    ///
    /// Exit code: 0 where there is no problem, 1 where there is one (with `--strict` also where there is a warning), 2 where
    /// the arguments are wrong.
    Check(Check),

    /// Make the tables of eos, or bring them up to date
    ///
    /// Services do it by themselves, unless `migrate = "check"` stands under `[database]`. It adds what is missing, changes
    /// nothing that is there, and can be repeated.
    Migrate(Migrate),
}
