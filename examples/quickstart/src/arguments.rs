//! What can be asked for on the command line.

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit code: 0, every order was applied once; 1, one was lost or applied twice; 2, something else went wrong.";

/// Kills a service again and again in mid-work, and counts what is left: every order once.
#[derive(Debug, Parser)]
#[command(name = "quickstart", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Orders to produce; one in ten is sent twice
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) records: u32,

    /// How often a service is killed
    #[arg(long, value_name = "K", default_value_t = 5)]
    pub(crate) kills: u32,

    /// Repeats an earlier run's orders and moments to kill
    #[arg(long, value_name = "S", default_value_t = fastrand::u64(..1_000_000), hide_default_value = true)]
    pub(crate) seed: u64,

    /// A real Kafka in place of the in-process broker
    #[arg(long, value_name = "HOST:PORT,…")]
    pub(crate) brokers: Option<String>,

    /// postgres://…, mysql://… or sqlite://… in place of a SQLite file in a temporary folder
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,

    /// Leaves on real servers what was made there, to look at it
    #[arg(long)]
    pub(crate) keep: bool,

    /// A service without the transaction, to see what it is good for: this run is to fail
    #[arg(long, conflicts_with = "database_url")]
    pub(crate) at_least_once: bool,

    /// Says nothing but one JSON object, on standard output
    #[arg(long)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What this executable is, where it is not the demonstration itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// The service, one process of several
    #[command(hide = true)]
    Service {
        /// The listener that it runs
        listener: String,
    },
}
