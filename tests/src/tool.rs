//! The command line tool `eos`, run where a scene's services run.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::scene::Scene;

/// What the tool said, and how it ended.
#[derive(Debug)]
pub struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Scene {
    /// Runs `tool`, which is the test's own build of `eos`, on this scene's database and Kafka.
    pub async fn eos(&self, tool: &str, arguments: &[&str]) -> Said {
        self.eos_with(tool, arguments, &[]).await
    }

    /// The same with further variables.
    pub async fn eos_with(&self, tool: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = Command::new(Path::new(tool));
        command.current_dir(self.folder()).args(arguments).stdin(Stdio::null()).env_clear();
        command
            .env("EOS_KAFKA_BOOTSTRAP_SERVERS", self.brokers())
            .env("EOS_DATABASE_URL", self.database.url())
            .envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the tool ran");
        let output = output.expect("the tool can be run");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// It did what was asked; what it printed.
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It exited with this code; what it said on standard error.
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.err.trim().is_empty() && !self.err.contains("panicked"), "{self:?}");
        self.err
    }

    /// What it printed, as JSON, however it ended.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// How it ended.
    pub fn code(&self) -> Option<i32> {
        self.code
    }
}
