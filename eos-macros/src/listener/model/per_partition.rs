//! `concurrency_per_partition = 16`: for whom it is, and why not for others.

use super::signature::Shape;
use super::words::Words;
use crate::shared::mistakes::Mistakes;

/// How many keys of a partition are handled side by side; one where nothing was said.
pub(super) fn keys(words: &Words, shape: &Shape, mistakes: &mut Mistakes) -> u16 {
    let Some((word, keys)) = &words.concurrency_per_partition else { return 1 };
    let has_database = shape.transaction.as_ref().is_some_and(|taken| !taken.is_of_kafka());
    if words.exactly_once.is_some() {
        mistakes.at(
            word,
            "`exactly_once` handles a partition's records one after another: its outputs keep the order of the log, and its \
             Kafka transaction commits one offset for all that stands before it; take this away, and give the topic more \
             partitions",
        );
    } else if words.at_most_once.is_some() {
        mistakes.at(
            word,
            "`at_most_once` handles a partition's records one after another: what is begun was committed before, and the more of \
             it is in hand, the more a crash loses; take this away, and give the topic more partitions",
        );
    } else if words.transactional.is_some() || has_database {
        mistakes.at(
            word,
            format!(
                "a transactional listener moves its position record by record, in the transaction of each; to handle several \
                 keys of a partition side by side write `transactional(key_slots = {keys})`"
            ),
        );
    }
    *keys
}
