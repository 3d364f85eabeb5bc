//! What is ordered, from a seed. One order in ten is sent twice under the same message id, as by a producer that
//! missed the broker's answer and sent again: half of them at once, the others after up to two hundred more orders.

use fastrand::Rng;

use crate::service::OrderPlaced;

/// Partitions of the topic; a customer's orders, and their repetitions, go to the same one.
pub(crate) const PARTITIONS: i32 = 4;

const CUSTOMERS: u32 = 100;

/// How far the topic is ahead of the services; the in-process broker keeps only so much.
const LEAD: u64 = 1000;

/// Everything that is sent, in its order.
pub(crate) struct Orders {
    messages: Vec<Message>,
    sent: usize,
    /// How many different orders were sent.
    sent_unique: u64,
}

/// One sending of an order.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) order: OrderPlaced,
    pub(crate) partition: i32,
    is_repetition: bool,
}

impl Message {
    fn first(order_no: u32, customer: u32, amount_cents: u32) -> Self {
        Message {
            order: OrderPlaced {
                order_no: order_no.into(),
                customer: format!("customer-{customer}"),
                amount_cents: amount_cents.into(),
            },
            partition: customer.cast_signed() % PARTITIONS,
            is_repetition: false,
        }
    }

    fn repetition(&self) -> Self {
        Message { is_repetition: true, ..self.clone() }
    }

    /// What a repetition shares with the first sending, as the header `message-id`.
    pub(crate) fn id(&self) -> String {
        format!("order-{}", self.order.order_no)
    }
}

impl Orders {
    pub(crate) fn new(unique: u32, random: &mut Rng) -> Self {
        // The last order of each partition is sent once: when it is applied, everything before it was read.
        let last = unique.saturating_sub(PARTITIONS.unsigned_abs());
        let mut firsts: Vec<_> = (0..last)
            .map(|n| Message::first(n + 1, random.u32(..CUSTOMERS), random.u32(100..100_000)))
            .collect();
        firsts.extend((last..unique).map(|n| Message::first(n + 1, n, 100)));
        // Sorted by when it is sent: order `n` at `n`, what repeats an order right behind the one at its `n`.
        let mut repetitions = Vec::new();
        for ten in (0..last).step_by(10) {
            let n = random.u32(ten..last.min(ten + 10));
            let when = if random.bool() { n } else { random.u32(n..last.min(n + 200)) };
            repetitions.push((when, firsts[n as usize].repetition()));
        }
        let mut messages: Vec<_> = (0..).zip(firsts).chain(repetitions).collect();
        messages.sort_by_key(|(when, message)| (*when, message.is_repetition));
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        Orders { messages, sent: 0, sent_unique: 0 }
    }

    /// What is to be sent now that the services have begun with so many.
    pub(crate) fn next(&mut self, runs: u64) -> &[Message] {
        let from = self.sent;
        while let Some(message) = self.messages.get(self.sent)
            && self.sent_unique < runs + LEAD
        {
            self.sent += 1;
            self.sent_unique += u64::from(!message.is_repetition);
        }
        &self.messages[from..self.sent]
    }

    /// Messages that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent as u64
    }

    /// Different orders that were sent.
    pub(crate) fn sent_unique(&self) -> u64 {
        self.sent_unique
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sent(unique: u32, seed: u64) -> Vec<Message> {
        let mut orders = Orders::new(unique, &mut Rng::with_seed(seed));
        let mut sent = Vec::new();
        let mut runs = 0;
        while !orders.all_sent() {
            sent.extend_from_slice(orders.next(runs));
            runs += 100;
        }
        assert_eq!((orders.sent(), orders.sent_unique()), (sent.len() as u64, unique.into()));
        sent
    }

    #[test]
    fn one_order_in_ten_is_sent_twice_to_the_same_partition() {
        for seed in 0..20 {
            let mut by_id: BTreeMap<String, Vec<Message>> = BTreeMap::new();
            for message in sent(2000, seed) {
                by_id.entry(message.id()).or_default().push(message);
            }
            assert_eq!(by_id.len(), 2000);
            let twice: Vec<_> = by_id.values().filter(|sendings| sendings.len() > 1).collect();
            assert_eq!(twice.len(), 200);
            for sendings in twice {
                let [first, again] = &sendings[..] else { panic!("sent {} times", sendings.len()) };
                assert!(!first.is_repetition && again.is_repetition);
                assert_eq!(first.partition, again.partition);
            }
        }
    }

    #[test]
    fn each_partition_ends_with_an_order_that_comes_once() {
        for unique in [1, 3, 4, 5, 17, 2000] {
            let messages = sent(unique, 7);
            for partition in 0..PARTITIONS {
                let last = messages.iter().rfind(|message| message.partition == partition);
                assert!(last.is_none_or(|last| !last.is_repetition
                    && !messages.iter().any(|m| m.is_repetition && m.id() == last.id())));
            }
        }
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let ids = |seed| sent(100, seed).iter().map(Message::id).collect::<Vec<_>>();
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
    }
}
