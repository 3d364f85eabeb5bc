//! Kafka Streams: the program in `benches/streams`, built by Maven and run in a virtual machine of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::INTERVAL_MS;

/// As `pom.xml` says.
pub(super) const VERSION: &str = "4.3.1";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/streams");
const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/streams");

/// Builds it, with what it needs beside it.
pub(super) async fn build() -> anyhow::Result<()> {
    let pom = Path::new(FOLDER).join("pom.xml");
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-f"]).arg(pom).args(["compile", "dependency:copy-dependencies"]);
    let building = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_secs(600), building)
        .await
        .context("Maven does not come to an end")?
        .context("Kafka Streams needs a JDK and Maven (`mvn`)")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "Maven does not build {FOLDER}:\n{said}");
    Ok(())
}

/// Runs it.
pub(super) fn command(kafka: &str, group: &str, topic: &str, out: &str) -> anyhow::Result<Command> {
    let built = Path::new(BUILT).canonicalize().context("the Streams program is not built")?;
    let classes = format!("{0}/classes:{0}/dependency/*", built.display());
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-cp", &classes, "PassOn", kafka, group, topic, out, &INTERVAL_MS.to_string()]);
    Ok(command)
}
