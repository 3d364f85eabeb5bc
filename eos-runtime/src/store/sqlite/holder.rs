//! Who writes to the file, and until when at most: readable for others while the transaction is open.
//!
//! A process that is stopped (SIGSTOP, a frozen container) in the middle of an attempt keeps the file's write lock,
//! and nothing that it wrote to the database can be read by others yet. So whoever wants to write first leaves a
//! small file beside the database, named after its process: when that process started, and until when it may hold
//! the lock at most. It is refreshed while its owner waits, and removed when the attempt ends in whatever way.
//!
//! Whoever waits for the lock and finds such a promise broken ends that *process* with SIGKILL, and the kernel frees
//! its locks: only where process id and start time both match, never itself, and only after seeing the same broken
//! promise twice. A process that works keeps its promise: its deadline ends the attempt before the margin does.
//!
//! Only on Linux, whose `/proc` tells the start time; elsewhere one waits until a stopped process goes on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;

/// What this process promises; its file is removed when the last copy is dropped.
#[derive(Debug, Clone)]
pub(super) struct Record(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The database's path with a suffix; those of all processes begin alike.
    prefix: PathBuf,
    path: PathBuf,
    /// `None` where the file system or the platform does not let us say it: then nobody can end us.
    started: Option<u64>,
}

/// A promise that was found broken: whose file, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    path: PathBuf,
    text: String,
}

impl Record {
    pub(super) fn new(options: &SqliteConnectOptions, patience: Duration) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let prefix = with_suffix(options.get_filename(), "-eos-");
        let path = with_suffix(&prefix, &format!("{pid}-{number}"));
        static STARTED: LazyLock<Option<u64>> = LazyLock::new(|| process::started(std::process::id()));
        let record = Record(Arc::new(Inner { prefix, path, started: *STARTED }));
        record.until(patience);
        record
    }

    /// Promises to be done with the lock by then. A few bytes into the page cache: not worth a thread.
    pub(super) fn until(&self, patience: Duration) {
        let Some(started) = self.0.started else { return };
        let until =
            process::now_ms().saturating_add(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX / 2));
        if let Err(error) = std::fs::write(&self.0.path, format!("{started:020} {until:020}\n")) {
            tracing::debug!(%error, path = %self.0.path.display(), "cannot say who writes to the database");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.started.is_some() {
            // It may be gone already; then somebody thought that this process had ended.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Looks for a broken promise. Ends its process if it is the one that was `seen` before; otherwise returns it.
pub(super) fn end_overdue(own: &Record, seen: Option<&Suspect>) -> Option<Suspect> {
    let prefix = own.0.prefix.file_name()?.to_str()?;
    for entry in own.0.prefix.parent()?.read_dir().ok()?.flatten() {
        let name = entry.file_name();
        let Some((pid, _)) = name.to_str().and_then(|name| name.strip_prefix(prefix)?.split_once('-')) else {
            continue;
        };
        let (Ok(pid), Ok(text)) = (pid.parse::<u32>(), std::fs::read_to_string(entry.path())) else {
            continue;
        };
        let Some((started, until)) = parse(&text) else { continue };
        if pid == std::process::id() {
            continue;
        }
        if process::started(pid) != Some(started) {
            // Its process was killed.
            drop(std::fs::remove_file(entry.path()));
            continue;
        }
        if until >= process::now_ms() {
            continue;
        }
        let suspect = Suspect { path: entry.path(), text };
        if seen != Some(&suspect) {
            return Some(suspect);
        }
        match process::end(pid, started) {
            Ok(()) => {
                tracing::warn!(pid, "ended the process that kept the SQLite file locked beyond its deadline")
            }
            Err(error) => tracing::warn!(
                pid, %error,
                "could not end the process that keeps the SQLite file locked beyond its deadline; end or continue it by hand"
            ),
        }
    }
    None
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let (started, until) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((started.parse().ok()?, until.parse().ok()?))
}

#[cfg(target_os = "linux")]
mod process {
    use std::io;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    use rustix::time::{ClockId, clock_gettime};

    /// When a process started, in ticks since the machine did; `None` when it has ended.
    /// Source: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>, field 22.
    pub(super) fn started(pid: u32) -> Option<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        fields.nth(18)?.parse().ok()
    }

    /// The machine's own clock, which no one sets and which stands still while the machine sleeps.
    pub(super) fn now_ms() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
    }

    /// Ends the process with this id if it is the one that started then; its id cannot be given away meanwhile.
    pub(super) fn end(pid: u32, since: u64) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
        let handle = pidfd_open(id, PidfdFlags::empty())?;
        if started(pid) != Some(since) {
            return Err(gone());
        }
        Ok(pidfd_send_signal(handle, Signal::KILL)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod process {
    pub(super) fn started(_pid: u32) -> Option<u64> {
        None
    }

    pub(super) fn now_ms() -> u64 {
        0
    }

    pub(super) fn end(_pid: u32, _since: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}
