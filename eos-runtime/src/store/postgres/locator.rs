//! Where a position row lies, and how its page is kept from filling up.
//!
//! Every claim leaves a dead version of the row behind. An index scan or a sequential one would remove those as it
//! passes, once nobody can see them; finding a row by its ctid removes nothing, and the row would go on to a new page
//! after every forty claims: at 8,000 records a second the table would grow by 1.6 MB a second until autovacuum comes.
//! So now and then a statement between two attempts reads the row's page, which prunes it. While somebody holds an
//! old snapshot it can remove nothing, and is tried ever more rarely.
//!
//! Sources: `heap_page_prune_opt` and its callers in PostgreSQL; "HOT updates" in
//! <https://www.postgresql.org/docs/current/storage-hot.html>.

use std::fmt;

/// Where a row's newest version lies: block and line, as `tid` says it. With it goes what is known of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ctid {
    block: u32,
    line: u16,
    /// Claims since the page was tidied.
    claims: u16,
    /// Claims between two times.
    every: u16,
}

/// A page holds about forty versions.
const OFTEN: u16 = 24;
/// How rare it becomes where nothing can be removed.
const RARELY: u16 = 64 * OFTEN;

impl Ctid {
    /// Reads `(block,line)`.
    pub(super) fn parse(text: &str) -> sqlx::Result<Self> {
        let parts = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')?.split_once(','));
        let numbers = parts.and_then(|(block, line)| Some((block.parse().ok()?, line.parse().ok()?)));
        let (block, line) =
            numbers.ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is no ctid").into()))?;
        Ok(Ctid { block, line, claims: 0, every: OFTEN })
    }

    /// Whether the next claim should be preceded by a visit to the page.
    pub(super) fn wants_tidying(&self) -> bool {
        self.claims >= self.every
    }

    /// The row after a claim that found it here and left it at `next`. If the page was tidied before that claim and
    /// there was something to remove, the new version lies in a line that became free.
    pub(super) fn moved_to(&self, next: Ctid) -> Self {
        if !self.wants_tidying() {
            return Ctid { claims: self.claims + 1, every: self.every, ..next };
        }
        let helped = next.block == self.block && next.line <= self.line;
        Ctid { claims: 0, every: if helped { OFTEN } else { (self.every * 2).min(RARELY) }, ..next }
    }

    /// Reads the row's page. A range of ctids, because single ones do not prune; as text, so that it is planned for the
    /// table as it is now: by range where there are many pages.
    pub(super) fn tidy(&self, schema: &str) -> String {
        format!(
            "begin isolation level read committed read only; select pg_catalog.count(*) from {schema}eos_position \
             where ctid between '({block},0)' and '({block},65535)'; commit;",
            block = self.block
        )
    }
}

impl fmt::Display for Ctid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.block, self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Ctid {
        Ctid::parse(text).expect("a ctid")
    }

    #[test]
    fn a_ctid_reads_as_it_is_written() {
        assert_eq!(at("(4294967295,291)").to_string(), "(4294967295,291)");
        for wrong in ["", "(1)", "(1,2", "1,2", "(-1,2)", "(1,65536)", "(1,2,3)"] {
            assert!(Ctid::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_is_tidied_now_and_then_and_rarely_where_that_is_of_no_use() {
        let mut here = at("(0,1)");
        let mut visits = |claims: u32, line: &dyn Fn(Ctid) -> Ctid| {
            let mut visits = 0;
            for _ in 0..claims {
                visits += u32::from(here.wants_tidying());
                here = here.moved_to(line(here));
            }
            visits
        };
        let pruned =
            |here: Ctid| at(&format!("(0,{})", if here.wants_tidying() { 1 } else { here.line + 1 }));
        assert_eq!(visits(2_500, &pruned), 100);
        let kept =
            |here: Ctid| at(&format!("({},{})", here.block + u32::from(here.line == 40), here.line % 40 + 1));
        assert!(visits(10_000, &kept) < 15);
        let _ = visits(2_000, &|here: Ctid| {
            at(&format!("(7,{})", if here.wants_tidying() { 1 } else { here.line + 1 }))
        });
        assert_eq!(visits(2_500, &pruned), 100, "often again once it helps");
    }
}
