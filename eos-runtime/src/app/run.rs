//! From the plan to the ordered stop.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::builder::{App, app};
use super::plan::Plan;
use super::serve::serve;
use super::signals::Stop;
use crate::error::Error;
use crate::listener::spec::ListenerSpec;
use crate::settings::Environment;

/// Runs every listener that is linked into the program until it is told to stop.
///
/// ```no_run
/// #[tokio::main]
/// async fn main() -> eos_runtime::Result<()> {
///     eos_runtime::run().await
/// }
/// ```
/// It is [`app()`](crate::app)`.run()` with logging: unless a `tracing` subscriber is set already, it writes to standard
/// error what `RUST_LOG` asks for (`info` where it is not set).
///
/// # Stopping
/// SIGTERM or SIGINT stops in order: no new records, attempts in flight end, offsets are committed, pools are closed;
/// all within `[shutdown] deadline` (25 s). A second signal stops at once, which loses nothing either: what was in
/// flight is rolled back and done again by whoever takes the partition.
///
/// | exit code | meaning |
/// |---|---|
/// | 0 | stopped in order |
/// | 1 | `main` returned an [`Error`], which is on standard error |
/// | 130, 143 | stopped at once by a second signal: SIGINT, SIGTERM |
///
/// # Errors
/// [`Error::Setup`] with everything that is wrong with the settings and the listeners, before anything is started; a
/// database or a broker that refuses us; a stop that was not in order. One that is only unreachable is waited for.
///
/// # Cancel safety
/// Dropping the future stops at once, as a second signal does.
pub async fn run() -> Result<(), Error> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    // One that is set already is the program's own, and stays.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init().ok();
    app().run().await
}

impl App {
    /// Checks everything, starts, and runs until it is told to stop: see [`run`](crate::run), but for the logging,
    /// which is the program's own.
    ///
    /// # Errors
    /// As of [`run`](crate::run).
    ///
    /// # Cancel safety
    /// As of [`run`](crate::run).
    pub async fn run(self) -> Result<(), Error> {
        let linked: Vec<&'static ListenerSpec> = inventory::iter::<ListenerSpec>().collect();
        let mut plan = Plan::make(self, linked, &Environment::of_process())?;
        let stop = Stop::listen(plan.shutdown.take())?;
        announce(&plan);
        until_stopped(plan, stop).await
    }
}

/// Says what will run, a line each.
fn announce(plan: &Plan) {
    for remark in &plan.remarks {
        warn!("{remark}");
    }
    for listener in &plan.listeners {
        info!(
            listener = listener.id,
            topics = listener.topics.join(","),
            group = &*listener.group,
            mode = listener.promise.name(),
            "listening"
        );
    }
}

async fn until_stopped(plan: Plan, mut stop: Stop) -> Result<(), Error> {
    let deadline = plan.settings.shutdown.deadline;
    let token = CancellationToken::new();
    let mut serving = Box::pin(serve(plan, token.clone()));
    let by = tokio::select! {
        ended = &mut serving => return ended,
        by = stop.asked() => by,
    };
    info!(by, deadline = %humantime::format_duration(deadline), "stopping: no new records, attempts in flight end");
    token.cancel();
    tokio::select! {
        ended = tokio::time::timeout(deadline, serving) => {
            ended.unwrap_or(Err(Error::StopTimedOut { deadline }))?;
            info!("stopped in order");
            Ok(())
        }
        signal = stop.asked_again() => {
            warn!(signal = signal.name, "stopped at once by a second signal");
            std::process::exit(signal.exit_code)
        }
    }
}
