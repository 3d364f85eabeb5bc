//! The attribute's arguments, with the defaults of those that were not given.

use super::Tries;
use crate::shared::arguments::Argument;
use crate::shared::isolation::Isolation;
use crate::shared::mistakes::Mistakes;
use crate::shared::values::{number, once_each, unknown};

const KNOWN: [&str; 2] = ["isolation", "retries"];
/// Who meets others this often in a row has another problem than bad luck.
const MOST_RETRIES: u32 = 100;

#[derive(Debug)]
pub(super) struct Words {
    pub(super) isolation: Option<Isolation>,
    pub(super) tries: Tries,
}

impl Words {
    pub(super) fn read(arguments: &[Argument], mistakes: &mut Mistakes) -> Self {
        let mut words = Words { isolation: None, tries: Tries::Once };
        for argument in once_each(arguments, mistakes) {
            match argument.word().as_str() {
                "isolation" => words.isolation = Isolation::read(argument, mistakes),
                "retries" => {
                    let retries = number(argument, "3", &(1..=MOST_RETRIES), mistakes);
                    words.tries = retries.map_or(Tries::Once, Tries::Again);
                }
                _ => {
                    unknown(argument, &KNOWN, "`#[outbox]`", mistakes);
                }
            }
        }
        words
    }
}
