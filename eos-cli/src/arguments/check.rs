//! `eos check`.

use std::time::Duration;

use clap::Args;

use super::place::Brokers;

/// What a check looks at.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) brokers: Brokers,

    /// Look at this topic, too; those in which a group has positions are looked at in any case (repeatable)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<String>,

    /// Report transactions that have been open for so long: dead rows stay in the tables meanwhile
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = humantime::parse_duration)]
    pub(crate) old: Duration,

    /// Exit with 1 for warnings, too
    #[arg(long)]
    pub(crate) strict: bool,
}
