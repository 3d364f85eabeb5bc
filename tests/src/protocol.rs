//! How a group's members agree on who has what.

use crate::service::Launch;

/// One of Kafka's protocols of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Everybody gives everything up, and some of it comes back.
    Eager,
    /// Only what moves is given up.
    Cooperative,
    /// KIP-848: the broker decides.
    Consumer,
}

impl Launch {
    /// As a member that speaks this protocol.
    #[must_use]
    pub fn by(self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Eager => self.kafka("partition.assignment.strategy", "range"),
            Protocol::Cooperative => self.kafka("partition.assignment.strategy", "cooperative-sticky"),
            Protocol::Consumer => self.kip_848(),
        }
    }
}
