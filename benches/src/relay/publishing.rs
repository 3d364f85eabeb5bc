//! A publisher at work: a child process, or a connector that was resumed.

use std::process::Stdio;

use anyhow::{Context as _, bail};

use super::Relay;
use super::debezium::Connector;
use super::table::{Batch, Delivery, Publisher};
use crate::child::{self, Running, Used};

/// A publisher at work.
pub(super) enum Publishing {
    Child(Box<Running>),
    /// A connector, and what its worker had used when it began.
    Connector(Connector, Used),
}

impl Publishing {
    /// Starts it on the workload's tables.
    pub(super) async fn start(relay: &Relay<'_>, publisher: Publisher) -> anyhow::Result<Publishing> {
        let database = relay.database.url(None);
        let child = match publisher {
            Publisher::Eos(delivery) => {
                let mut command = child::this_program()?;
                let delivery = match delivery {
                    Delivery::AtLeastOnce => "at_least_once",
                    Delivery::ExactlyOnce => "exactly_once",
                };
                command.arg("relay").env("EOS__OUTBOX__DELIVERY", delivery).env("EOS_DATABASE_URL", database);
                command.env("EOS_KAFKA_BOOTSTRAP_SERVERS", &relay.bed.kafka).env("RUST_LOG", "warn");
                Running::start("eos's relay", &mut command, Stdio::null())?
            }
            Publisher::ByHand(batch) => {
                let mut command = child::this_program()?;
                let batch = match batch {
                    Batch::Of500 => "500",
                    Batch::Of1000 => "1000",
                    Batch::Of5000 => "5000",
                };
                command.args(["relay-by-hand", "--batch", batch, "--kafka", &relay.bed.kafka]);
                command.env("DATABASE_URL", database);
                Running::start("the hand-written relay", &mut command, Stdio::null())?
            }
            Publisher::Debezium => {
                let debezium = relay.debezium.as_ref().context("Debezium was not asked for")?;
                let connector = debezium.connector.clone();
                let before = connector.resume().await?;
                return Ok(Publishing::Connector(connector, before));
            }
        };
        Ok(Publishing::Child(Box::new(child)))
    }

    /// Does something while it works; an error if it ends before.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        match self {
            Publishing::Child(child) => {
                tokio::select! {
                    outcome = work => outcome,
                    ended = child.done() => match ended {
                        Ok(_) => bail!("a relay does not say that it is done"),
                        Err(error) => Err(error),
                    }
                }
            }
            Publishing::Connector(connector, _) => {
                tokio::select! {
                    outcome = work => outcome,
                    failed = connector.failure() => Err(failed),
                }
            }
        }
    }

    pub(super) async fn stop(self) -> anyhow::Result<Used> {
        match self {
            Publishing::Child(child) => child.stop().await,
            Publishing::Connector(connector, before) => connector.stop(before).await,
        }
    }
}
