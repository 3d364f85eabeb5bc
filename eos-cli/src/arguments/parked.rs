//! `eos parked`: list, retry, discard.

use clap::Subcommand;

use super::set_aside::{Change, Filters};

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List them in their order; the first of each key is the one that is tried
    ///
    /// A listener with `on_failure = "park"` parks a record that fails with the later ones of its key, and tries them again by
    /// itself, in order, while other keys go on. REASON is why the last attempt failed, or `behind`.
    List {
        /// These alone, by their numbers
        #[arg(value_name = "ID")]
        numbers: Vec<i64>,

        #[command(flatten)]
        filters: Filters,

        /// So many at most, the oldest
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },

    /// Have their keys tried now, in place of at the end of their waits; order and attempts stay
    ///
    /// It marks rows. A listener that reads the record's partition takes them up within seconds.
    Retry(Change),

    /// Mark those that nobody wants handled; they stay in the table, and what is behind them has its turn
    ///
    /// It cannot be taken back by this tool.
    Discard(Change),
}
