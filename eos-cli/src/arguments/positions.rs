//! `eos positions`: show, reset, copy.

use std::time::SystemTime;

use anyhow::ensure;
use clap::{Args, Subcommand};

use super::place::Brokers;
use super::set_aside::since;

#[derive(Debug, Subcommand)]
pub(crate) enum PositionsCommand {
    /// Show where each group goes on in each partition
    ///
    /// NEXT OFFSET is the first that is not done; EPOCH counts how often a process took the partition; ATTEMPTS are those
    /// at the next record, as far as the database counts them. Kafka's own tools show a position a little later.
    Show {
        /// Of this group
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,

        /// Of this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
    },

    /// Send a stopped group elsewhere in its topics; refused while it runs
    ///
    /// The database decides where a transactional listener goes on, whatever Kafka's own tools have set. A group that has
    /// never run can be sent somewhere, too, where `--topic` is named. Whatever process still had the partition, asleep
    /// perhaps, is fenced. What is read again is handled again only where it has no message id, or with `--forget-inbox`.
    /// A plain listener's position is Kafka's: use `kafka-consumer-groups --reset-offsets` for it.
    Reset(Reset),

    /// Give a stopped group's positions and message ids to another, to rename it; refused while either runs
    ///
    /// The other goes on where the first one ended, and takes for done what that one did. The first keeps its own positions,
    /// and its dead letters: handle those before you rename it.
    Copy(Copy),
}

/// Where a group is sent.
#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Where to: `beginning`, `end`, an offset as `4200`, how long ago as `2h`, or a time in UTC as `2026-11-26T17:50:46Z`
    #[arg(long, value_name = "WHERE", value_parser = goal)]
    pub(crate) to: Goal,

    /// Which group
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: String,

    /// In this topic; without it in all in which the group has positions
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// In this partition (repeatable); without it in all of the topic
    #[arg(long, value_name = "NUMBER", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Vec<i32>,

    /// Forget the ids of what is done, so that what is read again is handled again. The inbox does not know partitions, so
    /// this is for whole topics; what is set aside stays so
    #[arg(long, conflicts_with = "partition")]
    pub(crate) forget_inbox: bool,

    /// Also where the positions speak of another Kafka cluster's log, as after a move to a new one
    #[arg(long)]
    pub(crate) other_cluster: bool,

    #[command(flatten)]
    pub(crate) brokers: Brokers,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// From where to where.
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Which group has the positions
    #[arg(long, value_name = "GROUP")]
    pub(crate) from_group: String,

    /// Which is to have them
    #[arg(long, value_name = "GROUP")]
    pub(crate) to_group: String,

    /// Of this topic; without it of all
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,

    /// Also where the other group has positions, which are lost
    #[arg(long)]
    pub(crate) replace: bool,

    #[command(flatten)]
    pub(crate) brokers: Brokers,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where a reset goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The first record that is still there.
    Beginning,
    /// Behind the last one that there is.
    End,
    /// An offset.
    Offset(i64),
    /// The first record of that time or later.
    Time(SystemTime),
}

impl Copy {
    /// A group is not copied to itself.
    pub(crate) fn expect_two_groups(&self) -> anyhow::Result<()> {
        ensure!(self.from_group != self.to_group, "`--from-group` and `--to-group` name the same group");
        Ok(())
    }
}

/// A place in a log.
fn goal(text: &str) -> Result<Goal, String> {
    const WHERE: &str = "say `beginning`, `end`, an offset as `4200`, how long ago as `2h`, or when in UTC as \
                         `2026-11-26T17:50:46Z`";
    match text {
        "beginning" | "earliest" => return Ok(Goal::Beginning),
        "end" | "latest" => return Ok(Goal::End),
        text => {
            if let Ok(offset) = text.parse::<i64>() {
                return if offset < 0 { Err(WHERE.to_owned()) } else { Ok(Goal::Offset(offset)) };
            }
        }
    }
    since(text).map(Goal::Time).map_err(|_| WHERE.to_owned())
}
