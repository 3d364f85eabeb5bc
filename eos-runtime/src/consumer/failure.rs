//! Why an attempt failed, and what follows from it.
//!
//! | what was met | what follows |
//! |---|---|
//! | the application's own rule ([`Classify`]) | what it says |
//! | `HandlerError::fatal`, an extractor that cannot read the record | set aside at once: *poison* |
//! | `HandlerError::outage`, a database that is away, read-only, full, or ahead of which the program is | *outage*: the listener waits; not counted |
//! | a serialization failure, a deadlock | again at once, ten times; not counted |
//! | a handler that ended the transaction itself | the partition stops: what it wrote cannot be undone |
//! | anything else: a constraint, a timeout, a panic, an overrun | again later, `retry(max)` attempts in all; then set aside |
//!
//! What a database's error is, is said by SQLSTATE or number in each `store/*/pool.rs`, never by its text.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{HandlerError, Verdict};
use crate::listener::outcome::find;
use crate::store::{Fault, Reason, fault_of};

/// The application's own rules, asked before ours; each looks for one type of error.
#[derive(Clone, Default)]
pub(crate) struct Classify {
    rules: Arc<[Rule]>,
}

/// One rule: a verdict where the error is of its type.
pub(crate) type Rule = Box<dyn Fn(&(dyn StdError + 'static)) -> Option<Verdict> + Send + Sync>;

impl Classify {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Classify { rules: rules.into() }
    }

    fn verdict(&self, error: &HandlerError) -> Option<Verdict> {
        self.rules.iter().find_map(|rule| rule(error))
    }
}

impl fmt::Debug for Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Classify({} rules)", self.rules.len())
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The handler, or an extractor, returned an error.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// The handler took longer than it may.
    #[error("the handler was not done within its deadline of {}; see `deadline = \"…\"`", humantime::format_duration(*.0))]
    Overran(Duration),
    /// The handler panicked.
    #[error("the handler panicked: {0}")]
    Panicked(String),
    /// The handler went on after an SQL error, or a deferred constraint failed: COMMIT was not possible.
    #[error(
        "nothing could be committed: the handler went on after an SQL error, or a deferred constraint failed"
    )]
    Commit(#[source] sqlx::Error),
    /// The transaction that was claimed is gone: the handler ended it itself.
    #[error(
        "the handler ended the transaction that eos opened; what it wrote since then has been committed on its own; \
         use `tx.begin()` for savepoints, and leave COMMIT and ROLLBACK to eos"
    )]
    Strayed(#[source] sqlx::Error),
    /// The database could not begin the attempt.
    #[error("the attempt could not begin")]
    Begin(#[source] sqlx::Error),
    /// Found when the partition was taken.
    #[error(
        "{attempts} attempts were begun, and the process ended before it said how the last of them went: the record may \
         be what ends it"
    )]
    Killed {
        /// How many.
        attempts: u32,
    },
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Again at once: two transactions met.
    AtOnce,
    /// Something that is needed is down: again when it is back, uncounted.
    Outage,
    /// Again after a wait, as often as the listener's `retry` says.
    Later,
    /// No attempt can help.
    SetAside,
    /// The partition stops.
    Stop,
}

impl Failure {
    /// What follows, by the application's rules first, then by ours.
    pub(super) fn next(&self, classify: &Classify) -> Next {
        match self {
            Failure::Handler(error) => match classify.verdict(error).or(error.verdict()) {
                Some(Verdict::Fatal) => Next::SetAside,
                Some(Verdict::Again) => Next::Later,
                Some(Verdict::Outage) => Next::Outage,
                None => find::<sqlx::Error>(error).map_or(Next::Later, of_database),
            },
            // The handler did not run: it is not the record's fault.
            Failure::Begin(error) => match of_database(error) {
                Next::AtOnce => Next::AtOnce,
                Next::Outage | Next::Later | Next::SetAside | Next::Stop => Next::Outage,
            },
            Failure::Commit(error) => of_database(error),
            Failure::Strayed(_) => Next::Stop,
            Failure::Killed { .. } => Next::SetAside,
            Failure::Overran(_) | Failure::Panicked(_) => Next::Later,
        }
    }

    /// The database's own error, where there is one.
    pub(super) fn database_error(&self) -> Option<&sqlx::Error> {
        find(self)
    }

    /// The word for it in the dead letter, which follows if no attempt is left.
    pub(super) fn reason(&self, next: Next) -> Reason {
        match self {
            Failure::Killed { .. } => Reason::Killed,
            Failure::Overran(_) => Reason::Overran,
            Failure::Panicked(_) => Reason::Panicked,
            Failure::Handler(_) if next == Next::SetAside => Reason::Poison,
            Failure::Handler(_) | Failure::Commit(_) | Failure::Strayed(_) | Failure::Begin(_) => {
                Reason::Failed
            }
        }
    }
}

/// What follows from a database's error.
fn of_database(error: &sqlx::Error) -> Next {
    match fault_of(error) {
        Fault::Unavailable | Fault::ReadOnly | Fault::Unready | Fault::Refused => Next::Outage,
        Fault::Transient => Next::AtOnce,
        Fault::Overdue | Fault::Failed => Next::Later,
    }
}

/// An error and its causes as one sentence.
#[derive(Debug)]
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            // Many errors already end with their cause's words; saying them twice helps nobody.
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}
