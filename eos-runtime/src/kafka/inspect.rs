//! What tools ask of a cluster beside its services: who is in a group, and which record was the first since a time.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::client::ClientOptions;
use super::cluster::{ANSWER, Cluster};
use super::context::Quiet;
use crate::error::BoxError;

/// How long the group's coordinator may take: it may just be moving.
const COORDINATOR: Duration = Duration::from_secs(10);

/// Whether a group has members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// It has none, as far as anybody can know.
    None,
    /// It has these, by client and host.
    Some(Vec<String>),
    /// It has some, and the coordinator says no more of them.
    Hidden,
}

impl Cluster {
    /// Whether anybody answers, and lets us in.
    pub(crate) async fn answers(&self) -> Result<(), BoxError> {
        self.probe().await.map_err(|fault| match fault.as_failure() {
            Some(failure) => failure.into(),
            None => fault.into(),
        })
    }

    /// The first offset of a partition whose record is of this time or later, in milliseconds since 1970; its end where
    /// there is none.
    pub(crate) async fn offset_at(&self, topic: &str, partition: i32, time_ms: i64) -> Result<i64, BoxError> {
        let name = topic.to_owned();
        let found = self.ask(move |client| {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(&name, partition, Offset::Offset(time_ms))?;
            let found = client.offsets_for_times(list, ANSWER)?;
            let element = found.find_partition(&name, partition);
            element.map_or(Ok(Offset::End), |element| element.error().map(|()| element.offset()))
        });
        match found.await? {
            Offset::Offset(offset) => Ok(offset),
            Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => {
                Ok(self.watermarks(topic, partition).await?.high)
            }
        }
    }

    /// Whether a group has members; `topics` are those that it is known to read, with how many partitions each has.
    ///
    /// A group of the protocol of KIP-848 is not in the list that librdkafka can ask for. So the coordinator is asked a
    /// second time, in a way that it refuses whenever there is a member: an offset that the group has is committed
    /// again, unchanged, by somebody who is no member.
    pub(crate) async fn members(
        &self,
        options: &ClientOptions,
        group: &str,
        topics: &[(String, i32)],
    ) -> Result<Members, BoxError> {
        let name = group.to_owned();
        let listed = self.ask(move |client| {
            let list = client.fetch_group_list(Some(&name), COORDINATOR)?;
            let members = list.groups().iter().filter(|group| group.name() == name).flat_map(|group| {
                let member = |member: &rdkafka::groups::GroupMemberInfo| {
                    format!("{} at {}", member.client_id(), member.client_host().trim_start_matches('/'))
                };
                group.members().iter().map(member).collect::<Vec<_>>()
            });
            Ok(members.collect::<Vec<_>>())
        });
        let listed = match listed.await {
            Err(fault) if fault.code == Code::GroupIdNotFound => Vec::new(),
            listed => listed?,
        };
        if !listed.is_empty() {
            return Ok(Members::Some(listed));
        }
        let (options, group, topics) = (options.clone(), group.to_owned(), topics.to_vec());
        let asked =
            tokio::task::spawn_blocking(move || outsider_may_commit(&options, &group, &topics)).await?;
        Ok(if asked? { Members::None } else { Members::Hidden })
    }
}

/// Whether somebody who is no member may commit what the group has committed. Blocks.
fn outsider_may_commit(
    options: &ClientOptions,
    group: &str,
    topics: &[(String, i32)],
) -> Result<bool, KafkaError> {
    let mut config = options.member(group);
    config.remove("group.protocol");
    let outsider: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
    let mut asked = TopicPartitionList::new();
    for (topic, partitions) in topics {
        asked.add_partition_range(topic, 0, partitions - 1);
    }
    if asked.count() == 0 {
        return Ok(true);
    }
    // Committed as they came, each with its metadata; those that the group has none of are passed over.
    let committed = outsider.committed_offsets(asked, COORDINATOR)?;
    if !committed.elements().iter().any(|element| matches!(element.offset(), Offset::Offset(_))) {
        return Ok(true);
    }
    match outsider.commit(&committed, CommitMode::Sync) {
        Ok(()) => Ok(true),
        Err(error) => match error.rdkafka_error_code() {
            Some(
                Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::IllegalGeneration
                | Code::StaleMemberEpoch
                | Code::FencedMemberEpoch,
            ) => Ok(false),
            Some(_) | None => Err(error),
        },
    }
}
