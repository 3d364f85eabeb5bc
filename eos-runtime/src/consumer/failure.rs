//! Why an attempt failed, and what follows from it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{HandlerError, Verdict};
use crate::listener::outcome::find;
use crate::store::{Dialect, Fault};

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
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Again at once: two transactions met.
    AtOnce,
    /// Again after a wait.
    Later,
    /// The partition stops.
    Stop,
}

impl Failure {
    /// What follows, by the application's rules first, then by ours.
    pub(super) fn next<D: Dialect>(&self, classify: &Classify) -> Next {
        self.decide(classify, |error| D::fault(error) == Fault::Transient)
    }

    /// The same for a listener without a database.
    pub(super) fn next_plain(&self, classify: &Classify) -> Next {
        self.decide(classify, |_| false)
    }

    fn decide(&self, classify: &Classify, transient: impl Fn(&sqlx::Error) -> bool) -> Next {
        match self {
            Failure::Handler(error) => match classify.verdict(error) {
                Some(Verdict::Fatal) => Next::Stop,
                Some(Verdict::Again) => Next::Later,
                None if error.is_fatal() => Next::Stop,
                None if find::<sqlx::Error>(error).is_some_and(transient) => Next::AtOnce,
                None => Next::Later,
            },
            Failure::Commit(error) | Failure::Begin(error) if transient(error) => Next::AtOnce,
            Failure::Strayed(_) => Next::Stop,
            Failure::Overran(_) | Failure::Panicked(_) | Failure::Commit(_) | Failure::Begin(_) => {
                Next::Later
            }
        }
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
