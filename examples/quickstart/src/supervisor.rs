//! Starts services, kills them, starts new ones, and stops them in the end: what a scheduler, bad luck and an operator
//! do to a service in the course of its life.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

use crate::diary::{self, Diary};
use crate::service::Listener;

/// How many run at a time, so that there is always one left to take over.
const SERVICES: usize = 2;

/// Longer than a service takes to stop in order (`[shutdown] deadline`).
const STOPPING: Duration = Duration::from_secs(30);

/// No service works for that long only when something is wrong.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Those that run. Dropping it kills them.
pub(crate) struct Supervisor<'a> {
    listener: Listener,
    settings: Vec<(&'static str, String)>,
    diary: &'a Diary,
    /// Where services work and log.
    folder: &'a Path,
    services: Vec<Service>,
    started: usize,
    /// The runs of handlers that were last seen to grow, and when.
    progress: (u64, Instant),
}

/// One process.
pub(crate) struct Service {
    /// Counted from 1, in the order in which they were started.
    pub(crate) number: usize,
    pub(crate) pid: u32,
    process: Child,
    /// A service whose standard input ends has lost its demonstration.
    _alive: Option<ChildStdin>,
    log: PathBuf,
}

impl<'a> Supervisor<'a> {
    /// Starts the first ones. `settings` are environment variables, all that a service is told.
    pub(crate) fn start(
        listener: Listener,
        settings: Vec<(&'static str, String)>,
        diary: &'a Diary,
        folder: &'a Path,
    ) -> anyhow::Result<Self> {
        let progress = (0, Instant::now());
        let services = Vec::new();
        let mut supervisor = Supervisor { listener, settings, diary, folder, services, started: 0, progress };
        for _ in 0..SERVICES {
            supervisor.start_one()?;
        }
        Ok(supervisor)
    }

    fn start_one(&mut self) -> anyhow::Result<()> {
        let number = self.started + 1;
        let log = self.folder.join(format!("service-{number}.log"));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["service", self.listener.id()])
            // A settings file or variables of the user's own are for other services than this.
            .current_dir(self.folder)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| !is_a_setting(&name.to_string_lossy())))
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env(diary::VARIABLE, self.diary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            // Ctrl-C is for the demonstration, which then kills its services itself.
            .process_group(0)
            .kill_on_drop(true);
        let mut process = command.spawn().context("a service cannot be started")?;
        let pid = process.id().context("a service that was just started has no process id")?;
        let alive = process.stdin.take();
        self.services.push(Service { number, pid, process, _alive: alive, log });
        self.started = number;
        Ok(())
    }

    /// Kills one by SIGKILL, and starts another. The one whose handler began last is most likely in the midst of it.
    pub(crate) async fn kill_one(&mut self, random: &mut Rng) -> anyhow::Result<Service> {
        let writer = self.diary.last_writer()?;
        let writer = self.services.iter().position(|service| Some(service.pid) == writer);
        let mut victim = self.services.remove(writer.unwrap_or_else(|| random.usize(..SERVICES)));
        victim.process.kill().await?;
        self.start_one()?;
        Ok(victim)
    }

    /// A service that ends by itself has found something wrong.
    pub(crate) fn expect_all_alive(&mut self) -> anyhow::Result<()> {
        for service in &mut self.services {
            if let Some(status) = service.process.try_wait()? {
                bail!("{}", service.report(&format!("ended by itself ({status})")));
            }
        }
        Ok(())
    }

    /// Whether no handler has begun for long; then their logs, which should say why.
    pub(crate) fn standstill(&mut self, runs: u64) -> Option<String> {
        if runs != self.progress.0 {
            self.progress = (runs, Instant::now());
        }
        let stands_still = self.progress.1.elapsed() > STANDSTILL;
        let logs = || self.services.iter().map(|service| service.report("stands still"));
        stands_still.then(|| logs().collect::<Vec<_>>().join("\n"))
    }

    /// Stops all of them in order, by SIGTERM.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for service in &self.services {
            let pid = Pid::from_raw(service.pid.try_into()?).context("no process has the id 0")?;
            kill_process(pid, Signal::TERM)?;
        }
        for service in &mut self.services {
            match tokio::time::timeout(STOPPING, service.process.wait()).await {
                Ok(status) => match status? {
                    status if status.success() => {}
                    status => bail!("{}", service.report(&format!("did not stop in order ({status})"))),
                },
                Err(_) => bail!("{}", service.report("does not stop")),
            }
        }
        Ok(())
    }
}

fn is_a_setting(variable: &str) -> bool {
    variable == "DATABASE_URL" || variable.starts_with("EOS_")
}

impl Service {
    /// What became of it, and the end of its log.
    fn report(&self, what: &str) -> String {
        const LINES: usize = 20;
        let log = std::fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
        format!("service {} (pid {}) {what}; the end of its log:\n  {tail}", self.number, self.pid)
    }
}
