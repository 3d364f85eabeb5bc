//! A relay alone, as a user runs it beside their services.

#[tokio::main]
async fn main() -> eos_runtime::Result<()> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    eos_runtime::relay().run().await
}
