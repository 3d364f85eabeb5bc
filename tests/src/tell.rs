//! What handlers tell outside their transactions: a file that only grows, so that also an attempt that was rolled
//! back, or whose process died, leaves a trace.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One line of a [`Told`] file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `begin` or `end`.
    pub what: String,
    /// Which process.
    pub pid: u32,
    /// Which partition.
    pub partition: i32,
    /// Which record.
    pub offset: i64,
}

/// Says that a handler began, or came to its end.
pub fn tell(file: &Path, what: &str, partition: i32, offset: i64) {
    let line = format!("{what} {} {partition} {offset}\n", std::process::id());
    let told = OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    told.expect("the trace can be written");
}

/// What the handlers of a scene have told.
#[derive(Debug, Clone)]
pub struct Told(pub(crate) PathBuf);

impl Told {
    /// All of it, in order.
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// How often a handler began in this process.
    pub fn begun_by(&self, pid: u32) -> usize {
        self.lines().iter().filter(|line| line.what == "begin" && line.pid == pid).count()
    }

    /// How often a handler began, in all.
    pub fn begun(&self) -> usize {
        self.lines().iter().filter(|line| line.what == "begin").count()
    }
}

fn parse(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    Some(Line {
        what: words.next()?.to_owned(),
        pid: words.next()?.parse().ok()?,
        partition: words.next()?.parse().ok()?,
        offset: words.next()?.parse().ok()?,
    })
}
