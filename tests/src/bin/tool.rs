//! The command line tool `eos`, built beside the services that a test runs it against.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eos_cli::main().await
}
