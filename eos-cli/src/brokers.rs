//! A Kafka that answers, and whether a group runs there.

use anyhow::{anyhow, bail};
use eos_runtime::BoxError;
use eos_runtime::tools::{Kafka, Members};

use crate::Refused;
use crate::arguments::Brokers;
use crate::print::{chain, count};

/// The one that the arguments, the environment or the settings file name, where it answers.
pub(crate) async fn reach(brokers: &Brokers) -> anyhow::Result<Kafka> {
    let kafka = Kafka::find(brokers.kafka.as_deref()).map_err(|mistakes| {
        let hint = if brokers.kafka.is_some() { "" } else { "; `--kafka` names brokers, too" };
        anyhow!("{}{hint}", mistakes.join("; "))
    })?;
    answering(kafka).await
}

/// The same for a look, which says what is wrong with the settings by itself.
pub(crate) async fn reach_for_a_look(brokers: &Brokers) -> anyhow::Result<Kafka> {
    let found = Kafka::find_despite_mistakes(brokers.kafka.as_deref());
    answering(found.map_err(|mistakes| anyhow!(mistakes.join("; ")))?).await
}

async fn answering(kafka: Kafka) -> anyhow::Result<Kafka> {
    match kafka.reach().await {
        Ok(()) => Ok(kafka),
        Err(error) => bail!(
            "Kafka at {} does not answer: {}; is the broker up, and do host and port belong to it?",
            kafka.servers(),
            chain(error.as_ref())
        ),
    }
}

/// What it said to a question, with where.
pub(crate) fn trouble(kafka: &Kafka, error: &BoxError) -> anyhow::Error {
    anyhow!("Kafka at {}: {}", kafka.servers(), chain(error.as_ref()))
}

/// Nobody moves a group's positions while it runs: it would go on where it is, and take them back.
pub(crate) async fn expect_stopped(
    kafka: &Kafka,
    group: &str,
    topics: &[(String, i32)],
) -> anyhow::Result<()> {
    let who = match kafka.members(group, topics).await.map_err(|error| trouble(kafka, &error))? {
        Members::None => return Ok(()),
        Members::Some(members) => {
            let many = count(members.len() as u64, "member");
            let shown: Vec<_> = members.iter().take(3).map(String::as_str).collect();
            let more = if members.len() > shown.len() { ", …" } else { "" };
            format!("{many} ({}{more})", shown.join(", "))
        }
        Members::Hidden => "it has members".to_owned(),
    };
    bail!(Refused(format!(
        "group `{group}` runs: {who}, says Kafka at {}, and nothing was changed; stop all its processes, wait until those that \
         died are out of it (`session.timeout.ms`, as a rule 45 s), and ask again",
        kafka.servers()
    )));
}
