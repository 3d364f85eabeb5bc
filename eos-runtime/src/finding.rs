//! What a check of a system says of one thing: whether it is well, and what to do where it is not.

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it by day.
    Warning,
    /// A promise does not hold, or nothing works.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in a few words: "topic `event.order`".
    pub what: String,
    /// How it was found.
    pub health: Health,
    /// In a sentence, which ends with what to do.
    pub says: String,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(what: impl Into<String>, says: impl Into<String>) -> Self {
        Finding { what: what.into(), health: Health::Ok, says: says.into() }
    }

    /// Somebody should look at it by day.
    pub fn warning(what: impl Into<String>, says: impl Into<String>) -> Self {
        Finding { what: what.into(), health: Health::Warning, says: says.into() }
    }

    /// A promise does not hold, or nothing works.
    pub fn problem(what: impl Into<String>, says: impl Into<String>) -> Self {
        Finding { what: what.into(), health: Health::Problem, says: says.into() }
    }
}
