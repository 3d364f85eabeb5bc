//! A line for each run of a handler, by whichever process: what a service counts in memory dies with it, and what it
//! writes to a database is rolled back with it, but a line that was appended to a file stays.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names the diary's file to the services.
pub(crate) const VARIABLE: &str = "QUICKSTART_DIARY";

/// A line is the writer's process id, in columns of this width.
const LINE: usize = 11;

/// The file, for appending and for reading.
#[derive(Debug, Clone)]
pub(crate) struct Diary {
    path: PathBuf,
    file: Arc<File>,
}

impl Diary {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        Ok(Diary { path: path.to_owned(), file: Arc::new(file) })
    }

    /// The one that this process is to write to.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        Ok(Diary::open(Path::new(&std::env::var(VARIABLE)?))?)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that a handler begins. One write is one line, whoever else writes.
    pub(crate) fn note_a_run(&self) -> io::Result<()> {
        let line = format!("{:>width$}\n", std::process::id(), width = LINE - 1);
        (&*self.file).write_all(line.as_bytes())
    }

    /// How many handlers have begun.
    pub(crate) fn runs(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len() / LINE as u64)
    }

    /// Who began the last one: most likely in the middle of it.
    pub(crate) fn last_writer(&self) -> io::Result<Option<u32>> {
        let Some(last) = self.runs()?.checked_sub(1) else { return Ok(None) };
        let mut line = [0; LINE];
        self.file.read_exact_at(&mut line, last * LINE as u64)?;
        Ok(std::str::from_utf8(&line).ok().and_then(|line| line.trim().parse().ok()))
    }
}
