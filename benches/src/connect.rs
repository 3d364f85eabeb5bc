//! Kafka Connect's REST interface: a connector is made, stopped, resumed, and taken away again.

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::process::Pid;
use serde_json::Value;
use tokio::time::Instant;

use crate::child::Used;

/// A worker.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    /// `http://host:port`
    address: String,
    agent: ureq::Agent,
}

/// What a connector, its task with it, is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Without a task.
    Stopped,
}

/// How long a connector may take for it.
const PATIENCE: Duration = Duration::from_secs(90);

enum Method {
    Get,
    Put,
    Delete,
}

impl Connect {
    pub(crate) fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build();
        Connect { address: address.trim_end_matches('/').to_owned(), agent: config.into() }
    }

    /// Makes a connector.
    pub(crate) async fn make(&self, name: &str, config: &Value) -> anyhow::Result<()> {
        self.call(Method::Put, format!("connectors/{name}/config"), Some(config.to_string())).await.map(drop)
    }

    /// Ends its task; where it was is kept.
    pub(crate) async fn stop(&self, name: &str) -> anyhow::Result<()> {
        self.call(Method::Put, format!("connectors/{name}/stop"), None).await.map(drop)
    }

    /// Starts its task again.
    pub(crate) async fn resume(&self, name: &str) -> anyhow::Result<()> {
        self.call(Method::Put, format!("connectors/{name}/resume"), None).await.map(drop)
    }

    /// Takes it away.
    pub(crate) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.call(Method::Delete, format!("connectors/{name}"), None).await.map(drop)
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, name: &str, wanted: State) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.call(Method::Get, format!("connectors/{name}/status"), None).await;
            match &status {
                Ok(status) if is(status, wanted) => return Ok(()),
                Ok(status) => no_failure(status)?,
                // It is not known everywhere at once.
                Err(_) => {}
            }
            if Instant::now() > deadline {
                bail!("after {PATIENCE:?} its status is {status:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Comes back when its task has failed, with why.
    pub(crate) async fn failure(&self, name: &str) -> anyhow::Error {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if let Ok(status) = self.call(Method::Get, format!("connectors/{name}/status"), None).await
                && let Err(failure) = no_failure(&status)
            {
                return failure;
            }
        }
    }

    /// What the worker has used, where it runs on this machine.
    pub(crate) fn used(&self) -> Option<Used> {
        let host = self.address.strip_prefix("http://")?;
        let port = host.to_socket_addrs().ok()?.next()?.port();
        Used::by(listening_on(port)?)
    }

    async fn call(&self, method: Method, path: String, body: Option<String>) -> anyhow::Result<Value> {
        let (agent, url) = (self.agent.clone(), format!("{}/{path}", self.address));
        let calling = move || {
            let answer = match (method, body) {
                (Method::Get, _) => agent.get(&url).call(),
                (Method::Delete, _) => agent.delete(&url).call(),
                (Method::Put, None) => agent.put(&url).send_empty(),
                (Method::Put, Some(body)) => {
                    agent.put(&url).header("content-type", "application/json").send(body.as_bytes())
                }
            };
            let mut answer = answer.with_context(|| format!("Kafka Connect does not answer at {url}"))?;
            let text = answer.body_mut().read_to_string()?;
            if !answer.status().is_success() {
                bail!("Kafka Connect answers {} to {url}: {text}", answer.status());
            }
            Ok(serde_json::from_str(&text).unwrap_or_default())
        };
        tokio::task::spawn_blocking(calling).await?
    }
}

fn is(status: &Value, wanted: State) -> bool {
    let connector = status["connector"]["state"].as_str();
    let tasks = status["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    match wanted {
        State::Running => {
            connector == Some("RUNNING")
                && !tasks.is_empty()
                && tasks.iter().all(|task| task["state"].as_str() == Some("RUNNING"))
        }
        State::Stopped => connector == Some("STOPPED") && tasks.is_empty(),
    }
}

/// An error if the connector or a task of it has failed.
fn no_failure(status: &Value) -> anyhow::Result<()> {
    let tasks = status["tasks"].as_array().into_iter().flatten();
    match tasks.chain([&status["connector"]]).find(|part| part["state"].as_str() == Some("FAILED")) {
        Some(failed) => {
            Err(anyhow!("it has failed: {}", failed["trace"].as_str().unwrap_or("no reason is given")))
        }
        None => Ok(()),
    }
}

/// The process that listens on a port of this machine, as far as one may know.
fn listening_on(port: u16) -> Option<Pid> {
    const LISTENS: &str = "0A";
    let end = format!(":{port:04X}");
    let lines =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    let inode = lines.iter().flat_map(|text| text.lines()).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let found = fields.get(1)?.ends_with(&end) && *fields.get(3)? == LISTENS;
        found.then(|| (*fields.get(9).unwrap_or(&"")).to_owned())
    })?;
    let socket = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let has = files
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.to_str() == Some(&socket)));
        if has { Pid::from_raw(pid) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_connector_runs_when_its_task_does_and_stands_when_it_has_none() {
        let with = |state: &str, tasks: Value| json!({"connector": {"state": state}, "tasks": tasks});
        let running = with("RUNNING", json!([{"id": 0, "state": "RUNNING"}]));
        assert!(is(&running, State::Running) && !is(&running, State::Stopped));
        assert!(!is(&with("RUNNING", json!([])), State::Running), "its task is to come");
        assert!(is(&with("STOPPED", json!([])), State::Stopped));
        let failed = with("RUNNING", json!([{"id": 0, "state": "FAILED", "trace": "no slot"}]));
        assert!(no_failure(&failed).is_err_and(|error| error.to_string().contains("no slot")));
    }

    #[test]
    fn who_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert_eq!(listening_on(port), Some(rustix::process::getpid()));
    }
}
