//! The program under test: a child process with its settings in the environment and its log in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::database::Kind;
use crate::waiting::{PATIENCE, eventually};

/// How to start a service.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    log: PathBuf,
}

/// A service that runs; dropping it kills it, and prints its log if the test has failed.
#[derive(Debug)]
pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Launch {
    /// A program in a folder, with none of our own environment's settings.
    pub(crate) fn new(program: &Path, folder: &Path, log: PathBuf) -> Self {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EOS_") || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        command
            .env("RUST_LOG", "info,eos=debug,eos_runtime=debug")
            .env("RUST_BACKTRACE", "1")
            .env("NO_COLOR", "1");
        Launch { command, log }
    }

    /// One variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Without dead letters, whatever the listener says.
    #[must_use]
    pub fn never_set_aside(mut self) -> Self {
        for listener in ["POSTGRES", "MARIADB", "SQLITE"] {
            self = self.env(&format!("EOS__LISTENERS__SINKS__{listener}__DEAD_LETTER"), "off");
        }
        self
    }

    /// A record that failed is parked, with the later ones of its key, and the others go on.
    #[must_use]
    pub fn parking(mut self) -> Self {
        for listener in ["POSTGRES", "MARIADB", "SQLITE", "POSTGRES_IN_GROUPS", "BATCHES"] {
            self = self.env(&format!("EOS__LISTENERS__SINKS__{listener}__ON_FAILURE"), "park");
        }
        self
    }

    /// With the keys of each partition split into so many slots.
    #[must_use]
    pub fn key_slots(mut self, slots: u16) -> Self {
        for listener in ["POSTGRES", "MARIADB", "SQLITE", "POSTGRES_IN_GROUPS", "BATCHES"] {
            self = self.env(&format!("EOS__LISTENERS__SINKS__{listener}__KEY_SLOTS"), slots.to_string());
        }
        self
    }

    /// With as many orders in one transaction as are queued.
    #[must_use]
    pub fn in_groups(self, kind: Kind) -> Self {
        let listener = match kind {
            Kind::Postgres => "postgres_in_groups",
            Kind::MariaDb => "mariadb_in_groups",
            Kind::Sqlite => "sqlite_in_groups",
        };
        self.env("SINK_LISTENER", listener)
    }

    /// A property of librdkafka, by its own name.
    #[must_use]
    pub fn kafka(self, property: &str, value: &str) -> Self {
        let name = format!("EOS__KAFKA__PROPERTIES__{}", property.replace('.', "_").to_uppercase());
        self.env(&name, value)
    }

    /// Takes a variable back.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The protocol of KIP-848, whose timeouts are the broker's.
    #[must_use]
    pub fn kip_848(self) -> Self {
        self.kafka("group.protocol", "consumer")
            .without("EOS__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS")
            .without("EOS__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS")
    }

    /// A fault: `after_claim@3=kill`.
    #[must_use]
    pub fn fault(self, fault: &str) -> Self {
        self.env("EOS_FAULT", fault)
    }

    /// Starts it.
    pub fn start(mut self) -> Service {
        let log = File::create(&self.log).expect("a log file");
        let both = log.try_clone().expect("a second handle");
        let child = self.command.stdout(log).stderr(both).spawn().expect("the program can be run");
        Service { child, log: self.log }
    }
}

impl Service {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How many lines of its log say this.
    pub fn says(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until its log says this.
    pub async fn has_said(&self, words: &str) {
        self.has_said_times(words, 1).await;
    }

    /// Waits until so many lines of its log say this.
    pub async fn has_said_times(&self, words: &str, times: usize) {
        eventually(&format!("the log says {words:?}"), PATIENCE, async || match self.says(words) {
            said if said >= times => Ok(()),
            said => Err(format!("{said} times")),
        })
        .await;
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// SIGSTOP: when this returns, all of it sleeps, until [`Service::wake`].
    pub async fn sleep(&self) {
        self.signal(Signal::STOP);
        self.sleeps().await;
    }

    /// SIGCONT.
    pub fn wake(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM: a polite end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// A polite end, waited for; it must succeed.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.exit(PATIENCE).await;
        assert!(status.success(), "a polite end: {status}");
    }

    /// Waits until it has ended.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        eventually("the service ends", within, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Waits until a fault has killed it.
    pub async fn is_killed(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.exit(PATIENCE).await;
        assert_eq!(
            status.signal(),
            Some(Signal::KILL.as_raw()),
            "it was to be killed by its fault: {status}"
        );
    }

    /// Waits until it has been ended by a signal, whichever it was.
    pub async fn dies(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = self.exit(PATIENCE).await;
        assert!(status.signal().is_some(), "it was to be ended by its handler: {status}");
    }

    /// Waits until every thread of it sleeps (a fault has stopped it).
    pub async fn sleeps(&self) {
        eventually("the service sleeps", PATIENCE, async || {
            let states = self.thread_states();
            if !states.is_empty() && states.iter().all(|state| *state == 'T') {
                Ok(())
            } else {
                Err(format!("its threads' states are {states:?}"))
            }
        })
        .await;
    }

    /// The letters that the kernel has for them, `T` for one that is stopped.
    fn thread_states(&self) -> Vec<char> {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid())) else { return Vec::new() };
        let state = |thread: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
            // The name before it, in brackets, may hold anything.
            stat.rsplit(')').next()?.trim().chars().next()
        };
        threads.flatten().filter_map(state).collect()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(120)..];
            eprintln!("---- the end of the log of process {} ----\n{}", self.pid(), tail.join("\n"));
        }
    }
}
