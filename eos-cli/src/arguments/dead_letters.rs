//! `eos dead-letters`: list, show, replay, discard, edit.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::set_aside::{Change, Filters, StateName};

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List them, the oldest first: those that are dead, and those that wait for their replay
    List {
        /// These alone, by their numbers
        #[arg(value_name = "ID")]
        numbers: Vec<i64>,

        #[command(flatten)]
        filters: Filters,

        /// In this state (repeatable); without it, dead and wanted
        #[arg(long, value_name = "STATE", value_enum)]
        state: Vec<StateName>,

        /// So many at most, the oldest
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },

    /// Show everything about one: headers, key, payload, and the chain of causes
    Show {
        /// Its number, as `list` says it
        #[arg(value_name = "ID")]
        id: i64,
    },

    /// Have dead ones handled again, by the running listeners of their group
    ///
    /// It marks rows. A listener that reads the record's partition takes them up within seconds, and handles each once,
    /// however often this is asked for. One that fails again is dead again, with the new causes. Mend the cause first: a
    /// record that failed because of a bug fails again until the mended service runs.
    Replay(DeadLettersChange),

    /// Mark those that nobody wants handled; they stay in the table
    ///
    /// Takes those that are dead, and those that wait for their replay. It cannot be taken back by this tool.
    Discard(DeadLettersChange),

    /// Give one another payload, for its replay; the one that came is kept beside it
    ///
    /// Afterwards `eos dead-letters replay ID` has it handled. Key and headers stay as they are.
    Edit {
        /// Its number, as `list` says it
        #[arg(value_name = "ID")]
        id: i64,

        #[command(flatten)]
        payload: Payload,
    },
}

/// What a replay or a discard of dead letters is about.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersChange {
    #[command(flatten)]
    pub(crate) change: Change,

    /// In this state; a replay takes dead ones only
    #[arg(long, value_name = "STATE", value_enum)]
    pub(crate) state: Vec<StateName>,
}

/// Another payload.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Payload {
    /// A file whose bytes are the payload, as they are; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,

    /// No payload: the record becomes a tombstone
    #[arg(long)]
    pub(crate) tombstone: bool,
}
