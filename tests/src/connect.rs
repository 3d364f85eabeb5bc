//! Kafka Connect, by its REST interface.

use crate::servers::variable;
use crate::waiting::{PATIENCE, eventually};

/// A worker that connectors can be given to.
#[derive(Debug, Clone)]
pub struct Connect {
    address: String,
}

impl Connect {
    /// The worker that `EOS_TEST_CONNECT` names.
    pub fn new() -> Self {
        Connect { address: variable("EOS_TEST_CONNECT") }
    }

    /// Gives it a connector, or changes one.
    pub async fn create(&self, name: &str, configuration: &serde_json::Value) {
        let (url, body) = (self.url(name, "/config"), configuration.clone());
        eventually("the connector is accepted", PATIENCE, async || {
            let (url, body) = (url.clone(), body.clone());
            ask(move || ureq::put(url).send_json(body).map(|_| ())).await
        })
        .await;
    }

    /// Waits until the connector and its task run.
    pub async fn runs(&self, name: &str) {
        let url = self.url(name, "/status");
        eventually("the connector runs", PATIENCE, async || {
            let url = url.clone();
            let status: serde_json::Value =
                ask(move || ureq::get(url).call().and_then(|mut answer| answer.body_mut().read_json()))
                    .await?;
            let running = |state: &serde_json::Value| state == "RUNNING";
            if running(&status["connector"]["state"]) && running(&status["tasks"][0]["state"]) {
                return Ok(());
            }
            let text = status.to_string();
            Err(text.chars().take(600).collect())
        })
        .await;
    }

    /// Takes it away, and waits until its task is gone.
    pub async fn delete(&self, name: &str) {
        let stop = self.url(name, "/stop");
        ask(move || ureq::put(stop).send_empty().map(|_| ())).await.expect("it is stopped");
        let url = self.url(name, "/status");
        eventually("the task is gone", PATIENCE, async || {
            let url = url.clone();
            let status: serde_json::Value =
                ask(move || ureq::get(url).call().and_then(|mut answer| answer.body_mut().read_json()))
                    .await?;
            if status["tasks"].as_array().is_some_and(Vec::is_empty) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        let url = self.url(name, "");
        ask(move || ureq::delete(url).call().map(|_| ())).await.expect("it is deleted");
    }

    fn url(&self, name: &str, what: &str) -> String {
        format!("{}/connectors/{name}{what}", self.address)
    }
}

impl Default for Connect {
    fn default() -> Self {
        Self::new()
    }
}

async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, ureq::Error> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(question).await.expect("no panic").map_err(|error| error.to_string())
}
