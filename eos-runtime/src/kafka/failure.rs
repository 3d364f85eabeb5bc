//! Which errors end the process, and what its operator can do about them.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::settings::Properties;

/// Why a client could not be made, or stopped for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KafkaFailure {
    /// librdkafka does not accept a property.
    #[error("the setting `{section}.{property}` is not accepted: {reason}")]
    Property { section: &'static str, property: String, reason: String },
    /// librdkafka could not make a client of the settings as a whole.
    #[error("no Kafka client can be made from {sections}: {reason}")]
    Client { sections: &'static str, reason: String },
    /// The broker does not know us.
    #[error(
        "the broker refused to let us in: {reason}; check `sasl.username`, `sasl.password` and `sasl.mechanism` in \
         `[kafka.properties]`"
    )]
    Authentication { reason: String },
    /// No encrypted connection could be made.
    #[error(
        "no TLS connection to the broker could be made: {reason}; check `security.protocol` and the `ssl.*` settings \
         in `[kafka.properties]`"
    )]
    Encryption { reason: String },
    /// librdkafka gave up the member for good, as when another process uses its `group.instance.id`.
    #[error("the consumer of group `{group}` cannot go on: {reason}")]
    Fatal { group: String, reason: String },
    /// A partition is held and nobody works on it: a bug, and it would not be consumed.
    #[error("the partition {topic}[{partition}] of group `{group}` has lost its worker")]
    Unattended { group: String, topic: String, partition: i32 },
    /// A worker, or the poll thread itself, panicked: a bug, and nothing would consume the partition any more.
    #[error("a consumer of group `{group}` panicked: {message}")]
    Panicked { group: String, message: String },
}

/// An error as librdkafka reported it: the code decides, the text is for people.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) reason: String,
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// The brokers cannot be reached; librdkafka goes on trying.
    Outage,
    /// The wrong name or password.
    Authentication,
    /// The wrong certificates.
    Encryption,
    /// The partition cannot be read where it was to be read.
    Suspicion,
    /// Records are compressed in a way that this build cannot read.
    Codec,
    /// A topic is missing; somebody else watches for it.
    MissingTopic,
    /// It passes, or an administrator has to act; said, and nothing else done.
    Nothing,
}

impl Fault {
    pub(super) fn follows(&self) -> Follows {
        const TABLE: [(Follows, &[Code]); 6] = [
            (
                Follows::Authentication,
                &[Code::Authentication, Code::SaslAuthenticationFailed, Code::UnsupportedSASLMechanism],
            ),
            (Follows::Encryption, &[Code::SSL]),
            (
                Follows::Outage,
                &[
                    Code::BrokerTransportFailure,
                    Code::AllBrokersDown,
                    Code::Resolve,
                    Code::OperationTimedOut,
                    Code::NetworkException,
                ],
            ),
            // A batch with a wrong checksum (`check.crcs`) is left out by librdkafka after it was reported.
            (
                Follows::Suspicion,
                &[Code::AutoOffsetReset, Code::OffsetOutOfRange, Code::LogTruncation, Code::BadMessage],
            ),
            (Follows::Codec, &[Code::NotImplemented]),
            (
                Follows::MissingTopic,
                &[Code::UnknownTopicOrPartition, Code::UnknownTopic, Code::UnknownPartition],
            ),
        ];
        let row = TABLE.iter().find(|(_, codes)| codes.contains(&self.code));
        row.map_or(Follows::Nothing, |(follows, _)| *follows)
    }

    /// The failure it is where it ends the process: before anything ever worked.
    pub(super) fn as_failure(&self) -> Option<KafkaFailure> {
        let reason = self.reason.clone();
        match self.follows() {
            Follows::Authentication => Some(KafkaFailure::Authentication { reason }),
            Follows::Encryption => Some(KafkaFailure::Encryption { reason }),
            Follows::Outage
            | Follows::Suspicion
            | Follows::Codec
            | Follows::MissingTopic
            | Follows::Nothing => None,
        }
    }
}

impl KafkaFailure {
    /// Of a client that has the settings of `[kafka]` alone.
    pub(super) fn client(reason: String) -> Self {
        KafkaFailure::Client { sections: "`[kafka]`", reason }
    }

    /// The same of a producer, which has properties of its own beside those of `[kafka]`.
    pub(super) fn of_producer(mut self, own: &Properties) -> Self {
        if let KafkaFailure::Property { section, property, .. } = &mut self
            && own.get(property).is_some()
        {
            *section = "outbox.properties";
        }
        if let KafkaFailure::Client { sections, .. } = &mut self {
            *sections = "`[kafka]` and `[outbox.properties]`";
        }
        self
    }
}

impl From<KafkaError> for KafkaFailure {
    fn from(error: KafkaError) -> Self {
        if let KafkaError::ClientConfig(_, sentence, property, _) = error {
            // librdkafka's sentence quotes the value; for a secret only the name is shown.
            let reason = if is_secret(&property) { "its value".to_owned() } else { sentence };
            return KafkaFailure::Property { section: "kafka.properties", property, reason };
        }
        if let KafkaError::ClientCreation(reason) = error {
            return KafkaFailure::client(reason);
        }
        KafkaFailure::client(error.to_string())
    }
}

fn is_secret(property: &str) -> bool {
    ["password", "secret", "key.pem", "oauthbearer.config"].iter().any(|part| property.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_is_wrong_is_named_and_a_secret_is_not_quoted() {
        let refused = |name: &str, value: &str| {
            let error =
                rdkafka::ClientConfig::new().set(name, value).create_native_config().err().expect("refused");
            KafkaFailure::from(error).to_string()
        };
        assert!(refused("fetch.wait.max.mss", "5").contains("`kafka.properties.fetch.wait.max.mss`"));
        assert!(refused("fetch.wait.max.ms", "soon").contains("`kafka.properties.fetch.wait.max.ms`"));
        let secret = KafkaFailure::from(KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value \"hunter2\"".to_owned(),
            "sasl.password".to_owned(),
            "hunter2".to_owned(),
        ));
        assert!(!secret.to_string().contains("hunter2"));
    }

    #[test]
    fn only_credentials_and_certificates_end_the_process() {
        let fault = |code| Fault { code, reason: "why".to_owned() };
        assert!(fault(Code::Authentication).as_failure().is_some());
        assert!(fault(Code::SSL).as_failure().is_some());
        assert!(fault(Code::BrokerTransportFailure).as_failure().is_none());
        assert_eq!(fault(Code::AutoOffsetReset).follows(), Follows::Suspicion);
    }
}
