//! Where the servers are, as `scripts/services env` says.

use std::process::Command;

/// The servers that the tests use.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `host:port`.
    pub kafka: String,
    /// A URL whose user may create databases.
    pub postgres: String,
    /// A URL whose user may create databases.
    pub mysql: String,
    /// A URL.
    pub redis: String,
}

/// The servers; fails the test where they are not named.
pub fn servers() -> Servers {
    Servers {
        kafka: variable("EOS_TEST_KAFKA"),
        postgres: variable("EOS_TEST_POSTGRES"),
        mysql: variable("EOS_TEST_MYSQL"),
        redis: variable("EOS_TEST_REDIS"),
    }
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "`{name}` is not set: this test needs real servers; run `scripts/test`, or `scripts/services up`, `scripts/services up \
             debezium` and `export $(scripts/services env)`"
        )
    })
}

/// `scripts/services` with these arguments; what it printed. Fails the test where it fails.
pub(crate) fn services(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
    let output = Command::new(script).args(arguments).output().expect("scripts/services can be run");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "scripts/services {arguments:?} failed: {out}{err}");
    out.into_owned()
}

/// One of Kafka's own tools, run against the test's broker; what it printed.
pub async fn kafka_tool(class: &str, arguments: &[&str]) -> String {
    let words: Vec<String> = ["kafka-tool", class]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .chain(["--bootstrap-server".to_owned(), servers().kafka])
        .collect();
    tokio::task::spawn_blocking(move || services(&words.iter().map(String::as_str).collect::<Vec<_>>()))
        .await
        .expect("the tool ran")
}
