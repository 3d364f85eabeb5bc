//! From the plan to the ordered stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::builder::{App, DoorIs, app};
use super::plan::Plan;
use super::serve::serve;
use super::signals::Stop;
use crate::error::Error;
use crate::listener::resolved::Promise;
use crate::listener::spec::ListenerSpec;
use crate::metrics;
use crate::settings::{Bootstrap, Environment};

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
    pub async fn run(mut self) -> Result<(), Error> {
        let linked: Vec<&'static ListenerSpec> = inventory::iter::<ListenerSpec>().collect();
        let shutdown = self.shutdown.take();
        self.door = DoorIs::Open;
        #[cfg_attr(
            not(feature = "admin"),
            expect(unused_mut, reason = "the admin server is taken out of it")
        )]
        let mut plan = Plan::make(self, linked, &Environment::of_process())?;
        let stop = Stop::listen(shutdown)?;
        announce(&plan);
        let (deadline, token) = (plan.settings.shutdown.deadline, CancellationToken::new());
        #[cfg(feature = "admin")]
        let admin = super::admin::serve(&mut plan, &token)?;
        metrics::describe();
        let serving = serve(plan, token.clone(), |runs| {
            #[cfg(feature = "admin")]
            super::admin::show(admin.as_ref(), &runs);
            #[cfg(not(feature = "admin"))]
            let _nobody_looks = runs;
        });
        let outcome = until_stopped(Box::pin(serving), token, stop, deadline).await;
        // The last to go: until here it says that the process stops.
        #[cfg(feature = "admin")]
        super::admin::end(admin).await;
        outcome
    }
}

/// Says what will run, a line each.
fn announce(plan: &Plan) {
    for remark in &plan.remarks {
        warn!("{remark}");
    }
    let writes_exactly_once =
        plan.listeners.iter().any(|listener| matches!(listener.promise, Promise::ExactlyOnce { .. }));
    if writes_exactly_once && matches!(plan.settings.kafka.bootstrap, Bootstrap::Embedded) {
        warn!(
            "the embedded broker says yes to every transaction, and has none: `exactly_once` is tried on a real one"
        );
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

/// Waits for `serving`, and once it is to stop, for its ordered end within `deadline`.
async fn until_stopped(
    mut serving: impl Future<Output = Result<(), Error>> + Unpin,
    token: CancellationToken,
    mut stop: Stop,
    deadline: Duration,
) -> Result<(), Error> {
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_service_that_ends_by_itself_needs_no_signal() {
        let stop = Stop::Caller(Box::pin(pending()));
        let ended = until_stopped(ready(Ok(())), CancellationToken::new(), stop, Duration::ZERO).await;
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn attempts_that_outlast_the_deadline_are_an_error() {
        let (stop, token) = (Stop::Caller(Box::pin(ready(()))), CancellationToken::new());
        let ended = until_stopped(Box::pin(pending()), token.clone(), stop, Duration::from_millis(10)).await;
        assert!(token.is_cancelled());
        assert!(matches!(ended, Err(Error::StopTimedOut { .. })), "{ended:?}");
    }

    #[cfg(unix)]
    mod signals {
        use std::io::{BufRead, BufReader, Lines, Write};
        use std::process::{Child, ChildStderr, Command, Stdio};

        use super::*;

        #[test]
        fn a_signal_stops_in_order() {
            let (mut child, mut lines) = start("service_that_stops");
            said(&mut lines, "listening");
            signal(&child, "-TERM");
            assert_eq!(child.wait().expect("it ends").code(), Some(0));
        }

        #[test]
        fn a_second_signal_stops_at_once() {
            for (name, code) in [("-TERM", 143), ("-INT", 130)] {
                let (mut child, mut lines) = start("service_that_hangs");
                said(&mut lines, "listening");
                signal(&child, "-TERM");
                said(&mut lines, "stopping");
                signal(&child, name);
                assert_eq!(child.wait().expect("it ends").code(), Some(code));
            }
        }

        #[tokio::test]
        #[ignore = "a child process of the tests above"]
        async fn service_that_stops() {
            serve_until_signalled(false).await;
        }

        #[tokio::test]
        #[ignore = "a child process of the tests above"]
        async fn service_that_hangs() {
            serve_until_signalled(true).await;
        }

        async fn serve_until_signalled(hangs: bool) {
            let token = CancellationToken::new();
            let stop = Stop::listen(None).expect("signals");
            say("listening");
            let cancelled = token.clone();
            let serving = Box::pin(async move {
                cancelled.cancelled().await;
                say("stopping");
                if hangs { pending().await } else { Ok(()) }
            });
            until_stopped(serving, token, stop, Duration::from_secs(60)).await.expect("stopped in order");
        }

        /// Past the test harness, which keeps what is printed.
        fn say(line: &str) {
            writeln!(std::io::stderr(), "{line}").expect("standard error is open");
        }

        fn start(test: &str) -> (Child, Lines<BufReader<ChildStderr>>) {
            let mut child = Command::new(std::env::current_exe().expect("this test's path"))
                .args(["--ignored", "--exact", &format!("app::run::tests::signals::{test}")])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the child starts");
            let stderr = child.stderr.take().expect("piped");
            (child, BufReader::new(stderr).lines())
        }

        fn said(lines: &mut Lines<BufReader<ChildStderr>>, line: &str) {
            assert!(
                lines.by_ref().map_while(Result::ok).any(|said| said == line),
                "the child ended before `{line}`"
            );
        }

        fn signal(child: &Child, name: &str) {
            let status =
                Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
            assert!(status.success());
        }
    }
}
