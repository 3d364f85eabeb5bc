//! `eos outbox`: list, retry, discard.

use anyhow::ensure;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxCommand {
    /// List what Kafka refused, the oldest first, with its reason
    ///
    /// Later events of the same key wait behind it, unless `on_undeliverable = "skip"` stands under `[outbox]`.
    List,

    /// Have refused events tried again
    ///
    /// Mend the cause first: the topic, its limit for the size of a message, or the relay's rights on it. What is refused
    /// because its topic is missing or forbidden is tried again without this.
    Retry(Which),

    /// Delete refused events: they are never published, and what waits behind them goes on
    ///
    /// It cannot be taken back. `eos outbox list --json` says everything about them; keep that.
    Discard(Which),
}

/// Which refused events.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// By their numbers, as `list` says them
    #[arg(value_name = "SEQ")]
    pub(crate) seqs: Vec<i64>,

    /// All that are refused now
    #[arg(long, conflicts_with = "seqs")]
    pub(crate) all: bool,
}

impl Which {
    /// Nobody retries or deletes everything by leaving something out.
    pub(crate) fn expect_some(&self) -> anyhow::Result<()> {
        ensure!(
            self.all || !self.seqs.is_empty(),
            "nothing says which refused events are meant; name them by their numbers, as `eos outbox list` says them, or \
             say `--all`"
        );
        Ok(())
    }
}
