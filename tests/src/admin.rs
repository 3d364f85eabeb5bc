//! The admin server of a service, asked as an operator asks it.

use serde_json::Value;

use crate::service::Service;
use crate::waiting::{PATIENCE, eventually};

/// Where it is.
#[derive(Debug, Clone)]
pub struct Admin {
    address: String,
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's code.
    pub status: u16,
    /// The whole text.
    pub text: String,
}

impl Admin {
    /// At this address.
    pub fn at(address: &str) -> Self {
        Admin { address: address.to_owned() }
    }

    /// The one of this service, which was told `[admin] listen = "127.0.0.1:0"` and has said what it got.
    pub async fn of(service: &Service) -> Self {
        let address = eventually("the admin server says its address", PATIENCE, async || {
            let log = service.log();
            let line = log.lines().find(|line| line.contains("the admin server listens"));
            let address = line.and_then(|line| line.split("address=").nth(1)?.split(' ').next());
            address.map(str::to_owned).ok_or_else(|| "not yet".to_owned())
        });
        Admin { address: address.await }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask(path, false, None).await
    }

    /// Wants something changed, with this token where there is one.
    pub async fn post(&self, path: &str, token: Option<&str>) -> Answer {
        self.ask(path, true, token).await.expect("it answers")
    }

    /// `/listeners`.
    pub async fn listeners(&self) -> Value {
        let answer = self.get("/listeners").await.expect("it answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.text).expect("JSON")
    }

    /// Waits until `/readyz` answers this, with each of these words.
    pub async fn readiness(&self, status: u16, words: &[&str]) -> Answer {
        eventually(&format!("/readyz answers {status} with {words:?}"), PATIENCE, async || {
            let answer = self.get("/readyz").await?;
            let fits = answer.status == status && words.iter().all(|word| answer.text.contains(word));
            if fits { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    async fn ask(&self, path: &str, change: bool, token: Option<&str>) -> Result<Answer, String> {
        let url = format!("http://{}{path}", self.address);
        let token = token.map(|token| format!("Bearer {token}"));
        let asked = tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
            let answer = match (change, token) {
                (false, _) => agent.get(url).call(),
                (true, None) => agent.post(url).send_empty(),
                (true, Some(token)) => agent.post(url).header("authorization", token).send_empty(),
            };
            let mut answer = answer.map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            Ok(Answer { status: answer.status().as_u16(), text })
        });
        asked.await.expect("no panic")
    }
}
