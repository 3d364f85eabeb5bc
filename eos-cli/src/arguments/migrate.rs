//! `eos migrate`.

use clap::Args;

/// What becomes of the SQL.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Print the SQL in place of running it; no server is asked
    #[arg(long)]
    pub(crate) print: bool,
}
