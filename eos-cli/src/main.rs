//! The program `eos`; what it does is in the library beside it, so that tests have it, too.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    eos_cli::main().await
}
