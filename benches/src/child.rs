//! Every implementation runs in a process of its own: started by the benchmark, told its work by arguments and the
//! environment, ended by SIGTERM once it has said that its work is done.

use std::io::Write as _;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a run may take before it counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What a child prints when its last record is done; whatever else it prints is for people.
const DONE: &str = "eos-bench done";

/// A child that works.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    process: Child,
    pid: Pid,
    stdout: BufReader<tokio::process::ChildStdout>,
    stderr: JoinHandle<String>,
    used: Used,
}

/// What a child has used when it was last looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// The most it had resident, in MB.
    pub(crate) rss_mb: f64,
    /// Time on a processor, its own and the kernel's for it.
    pub(crate) cpu: Duration,
}

/// A command that runs this program as a child.
pub(crate) fn this_program() -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child");
    Ok(command)
}

impl Running {
    /// Starts it; it is killed when the handle is dropped.
    pub(crate) fn start(name: &str, command: &mut Command, stdin: Stdio) -> anyhow::Result<Self> {
        let mut process = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("it has no pid")?;
        let stdout = BufReader::new(process.stdout.take().context("its output is not ours")?);
        let mut errors = process.stderr.take().context("its errors are not ours")?;
        let stderr = tokio::spawn(async move {
            let mut text = Vec::new();
            // What was read before a failure is what there is to show.
            drop(errors.read_to_end(&mut text).await);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Running { name: name.to_owned(), process, pid, stdout, stderr, used: Used::default() })
    }

    /// Waits until it says that its work is done; the rest of that line.
    pub(crate) async fn done(&mut self) -> anyhow::Result<String> {
        let mut seen = String::new();
        let said = tokio::time::timeout(PATIENCE, async {
            let mut line = String::new();
            while self.stdout.read_line(&mut line).await? > 0 {
                if let Some(rest) = line.strip_prefix(DONE) {
                    return Ok(rest.trim().to_owned());
                }
                seen.push_str(&line);
                line.clear();
            }
            self.process.wait().await?;
            Err(anyhow::anyhow!("it ended before its work was done"))
        });
        let said = said.await.unwrap_or_else(|_| Err(anyhow::anyhow!("it was not done after {PATIENCE:?}")));
        if said.is_err() {
            self.process.start_kill()?;
            let errors = tokio::time::timeout(Duration::from_secs(5), &mut self.stderr).await;
            seen.push_str(&errors.unwrap_or(Ok(String::new()))?);
        }
        self.look();
        said.with_context(|| format!("{} failed; the last it said:\n{}", self.name, tail(&seen)))
    }

    /// Waits for one that ends by itself, looking at it meanwhile; what it printed.
    pub(crate) async fn ended(mut self) -> anyhow::Result<(ExitStatus, String, Used)> {
        let mut out = Vec::new();
        let mut reading = Box::pin(self.stdout.read_to_end(&mut out));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            tokio::select! {
                read = &mut reading => { read?; break }
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    self.used = Used::by(self.pid).unwrap_or(self.used);
                }
                () = tokio::time::sleep_until(deadline) => bail!("{} was not done after {PATIENCE:?}", self.name),
            }
        }
        drop(reading);
        let status = self.process.wait().await?;
        let said = String::from_utf8_lossy(&out).into_owned() + &self.stderr.await?;
        Ok((status, said, self.used))
    }

    /// Asks it to stop, and waits until it has; what it used until then.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Used> {
        self.look();
        kill_process(self.pid, Signal::TERM).with_context(|| format!("{} is gone", self.name))?;
        let ended = tokio::time::timeout(Duration::from_secs(30), self.process.wait()).await;
        let status = ended.with_context(|| format!("{} does not stop", self.name))??;
        if !status.success() {
            bail!("{} ended with {status}; the last it said:\n{}", self.name, tail(&self.stderr.await?));
        }
        Ok(self.used)
    }

    fn look(&mut self) {
        self.used = Used::by(self.pid).unwrap_or(self.used);
    }
}

impl Used {
    /// What a process has used so far; nothing once it has ended.
    pub(crate) fn by(pid: Pid) -> Option<Self> {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
        // After the name, which may hold anything, user and system time are the 12th and 13th field.
        let mut times = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let ticks: u64 = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
        let cpu = Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32;
        Some(Used { rss_mb: crate::stats::rounded(kib / 1024.0, 1), cpu })
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// In the child: how many records are done, and how many there are.
#[derive(Debug)]
pub(crate) struct Work {
    done: AtomicU64,
    all: AtomicU64,
}

impl Work {
    /// Nothing done; how many there are is said later.
    pub(crate) const fn new() -> Self {
        Work { done: AtomicU64::new(0), all: AtomicU64::new(u64::MAX) }
    }

    /// Says how many there are, before the first is done.
    pub(crate) fn expect(&self, all: u64) {
        self.all.store(all, Ordering::Relaxed);
    }

    /// One more is done; the last one tells the benchmark.
    pub(crate) fn one_done(&self) {
        self.done(1);
    }

    /// So many more are done; the last one tells the benchmark.
    pub(crate) fn done(&self, count: u64) {
        let (before, all) = (self.done.fetch_add(count, Ordering::Relaxed), self.all.load(Ordering::Relaxed));
        if before < all && before + count >= all {
            say_done("");
        }
    }
}

/// In the child: tells the benchmark that all is done.
#[expect(clippy::expect_used, reason = "without its parent a child has nothing left to do")]
pub(crate) fn say_done(rest: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{DONE} {rest}").and_then(|()| out.flush()).expect("the benchmark listens");
}

/// In the child: waits for the benchmark's SIGTERM.
pub(crate) async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    terminate.recv().await;
    Ok(())
}
