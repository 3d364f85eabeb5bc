//! What a handler may not say: statements that end its transaction, or begin another.
//!
//! A COMMIT inside a handler would publish half of its work and leave the fence; the proof before our own COMMIT
//! finds that out, but too late. So [`Tx`](super::Tx) looks at each statement first. Only the first word counts
//! where the statement is prepared (the database takes one statement there); a text without parameters may hold
//! several, and is looked through. SQL sent past the `Tx`, on the connection it dereferences to, is not seen here.

use sqlx::{Database, Execute, SqlStr};

use crate::error::BoxError;

/// A statement that was looked at and may pass, with all it had.
pub(super) struct Admitted<DB: Database> {
    sql: SqlStr,
    arguments: Option<DB::Arguments>,
    persistent: bool,
    statement: Option<DB::Statement>,
}

impl<DB: Database> Admitted<DB> {
    /// Lets `query` through, or says what to use in its place.
    pub(super) fn admit<'q>(mut query: impl Execute<'q, DB>) -> sqlx::Result<Self> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let persistent = query.persistent();
        let statement = query.statement().cloned();
        let sql = query.sql();
        // SQLite runs every statement of a text, prepared or not.
        let ends = if arguments.is_some() && DB::NAME != "SQLite" {
            ends_transaction(first_words(sql.as_str()))
        } else {
            statements(sql.as_str(), Quotes::of::<DB>())
                .find_map(|statement| ends_transaction(first_words(statement)))
        };
        match ends {
            None => Ok(Admitted { sql, arguments, persistent, statement }),
            Some(statement) => Err(sqlx::Error::Configuration(Box::new(TransactionStatement { statement }))),
        }
    }

    /// Whether it only reads and writes rows. It is one statement then, as it is prepared; and neither a function nor a
    /// trigger that it calls can end a transaction, which in PostgreSQL only a procedure can, where a CALL on the top
    /// level runs it. Source: <https://www.postgresql.org/docs/current/plpgsql-transactions.html>.
    pub(super) fn is_data(&self) -> bool {
        self.arguments.is_some() && DB::NAME == "PostgreSQL" && reads_or_writes(self.sql.as_str())
    }
}

impl<DB: Database> Execute<'_, DB> for Admitted<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.statement.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// A handler tried to end its transaction, or to begin another inside it.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{statement}` cannot be run inside this transaction: whoever opened it ends it; return an error to roll it back, \
     and use `tx.begin()` for a savepoint that can be rolled back alone"
)]
pub(super) struct TransactionStatement {
    statement: &'static str,
}

/// The statement's name if it would end the transaction or begin one.
fn ends_transaction(mut words: impl Iterator<Item = impl AsRef<str>>) -> Option<&'static str> {
    let first = words.next()?;
    let is = |word: &str| first.as_ref().eq_ignore_ascii_case(word);
    let mut next_is = |word: &str| words.next().is_some_and(|next| next.as_ref().eq_ignore_ascii_case(word));
    match first.as_ref().len() {
        3 if is("end") => Some("END"),
        5 if is("begin") => Some("BEGIN"),
        5 if is("abort") => Some("ABORT"),
        5 if is("start") && next_is("transaction") => Some("START TRANSACTION"),
        6 if is("commit") => Some("COMMIT"),
        7 if is("prepare") && next_is("transaction") => Some("PREPARE TRANSACTION"),
        // ROLLBACK TO, ROLLBACK WORK TO and ROLLBACK TRANSACTION TO go back to a savepoint and are harmless.
        8 if is("rollback") => match words.next() {
            Some(next) if next.as_ref().eq_ignore_ascii_case("to") => None,
            Some(_) if words.next().is_some_and(|word| word.as_ref().eq_ignore_ascii_case("to")) => None,
            Some(_) | None => Some("ROLLBACK"),
        },
        _ => None,
    }
}

/// Whether a statement's first word says that it reads or writes rows. One that begins with a comment is not looked into:
/// where the comment ends is for the database to say.
fn reads_or_writes(statement: &str) -> bool {
    let statement = statement.trim_ascii_start();
    let first = statement.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    ["select", "insert", "update", "delete", "merge", "with", "values"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// The words at the start of a statement, comments left out.
fn first_words(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        rest = skip_blank(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Skips white space and comments.
fn skip_blank(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else if let Some(comment) = sql.strip_prefix('#') {
            // MySQL's; nowhere else can a statement begin so.
            sql = comment.find('\n').map_or("", |end| &comment[end..]);
        } else {
            return sql;
        }
    }
}

/// What a backslash means between quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// Itself, unless an E stands before the quote.
    Plain,
    /// That the next character belongs to the text: MySQL.
    Escaped,
}

impl Quotes {
    fn of<DB: Database>() -> Self {
        if DB::NAME == "MySQL" { Quotes::Escaped } else { Quotes::Plain }
    }
}

/// The statements of a text, split at semicolons that stand outside quotes and comments.
fn statements(sql: &str, quotes: Quotes) -> impl Iterator<Item = &str> {
    let mut rest = Some(sql);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = statement_end(text, quotes);
        rest = (end < text.len()).then(|| &text[end + 1..]);
        Some(&text[..end])
    })
}

fn statement_end(sql: &str, quotes: Quotes) -> usize {
    let bytes = sql.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        at += match bytes[at] {
            b';' => return at,
            quote @ (b'\'' | b'"' | b'`') => match quotes {
                Quotes::Plain if !sql[..at].ends_with(['e', 'E']) => quoted(&rest[1..], quote as char),
                Quotes::Plain | Quotes::Escaped => escaped(&rest[1..], quote),
            },
            b'#' if quotes == Quotes::Escaped => rest.find('\n').unwrap_or(rest.len()),
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            b'$' => dollar_quoted(rest).unwrap_or(1),
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    bytes.len()
}

/// How long a quoted part is, its opening quote included.
fn quoted(after_quote: &str, quote: char) -> usize {
    after_quote.find(quote).map_or(after_quote.len() + 1, |end| end + 2)
}

/// The same where a backslash keeps the character behind it from ending the text.
fn escaped(after_quote: &str, quote: u8) -> usize {
    let mut bytes = after_quote.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            end if end == quote => return at + 2,
            _ => {}
        }
    }
    after_quote.len() + 1
}

/// How long PostgreSQL's `$tag$ … $tag$` is, where this is one.
fn dollar_quoted(sql: &str) -> Option<usize> {
    let tag_end = sql[1..].find('$')? + 2;
    let tag = &sql[..tag_end];
    let is_tag = tag[1..tag_end - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
    is_tag.then(|| sql[tag_end..].find(tag).map_or(sql.len(), |end| tag_end + end + tag_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sql: &str) -> Option<&'static str> {
        refused_by(Quotes::Plain, sql)
    }

    fn refused_by(quotes: Quotes, sql: &str) -> Option<&'static str> {
        statements(sql, quotes).find_map(|statement| ends_transaction(first_words(statement)))
    }

    #[test]
    fn a_backslash_means_what_it_means_to_the_database() {
        let text = r"insert into t values ('it\'s'); commit";
        assert_eq!(refused_by(Quotes::Escaped, text), Some("COMMIT"));
        assert_eq!(refused_by(Quotes::Escaped, r"insert into t values ('it\'s; commit')"), None);
        assert_eq!(refused_by(Quotes::Plain, r"insert into t values (E'it\'s; commit')"), None);
        assert_eq!(refused_by(Quotes::Plain, r"insert into t values ('\'); commit"), Some("COMMIT"));
        assert_eq!(refused_by(Quotes::Escaped, "select 1 # it's\n; # all\ncommit"), Some("COMMIT"));
    }

    #[test]
    fn what_ends_a_transaction_is_refused_wherever_it_stands() {
        assert_eq!(refused("commit"), Some("COMMIT"));
        assert_eq!(refused("  -- done\n /* now */ CoMmIt work"), Some("COMMIT"));
        assert_eq!(refused("insert into t values (';'); rollback; select 1"), Some("ROLLBACK"));
        assert_eq!(refused("do $x$ begin; end $x$; begin"), Some("BEGIN"));
        assert_eq!(refused("START TRANSACTION read only"), Some("START TRANSACTION"));
    }

    #[test]
    fn what_reads_and_writes_is_known_by_its_first_word() {
        for sql in
            ["select 1", "\n  INSERT into t values (1)", "with a as (select 1) delete from a", "values (1)"]
        {
            assert!(reads_or_writes(sql), "{sql}");
        }
        for sql in [
            "call p()",
            "do $$ begin end $$",
            "savepoint a",
            "set x = 1",
            "execute p",
            "selected",
            "",
            "(select 1)",
            "/* /* */ select */ commit",
            "-- x\rcommit /*\nselect 1 */",
        ] {
            assert!(!reads_or_writes(sql), "{sql}");
        }
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        for sql in [
            "select 'commit'",
            "insert into commit_log values (1)",
            "rollback to savepoint a",
            "ROLLBACK WORK TO a",
            "select 1 -- ; commit",
            "do $$ begin perform 1; end $$",
            "select \"a;commit\" from t",
            "begin_work()",
            "",
        ] {
            assert_eq!(refused(sql), None, "{sql}");
        }
    }
}
