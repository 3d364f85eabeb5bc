//! Looks at what runs, for the gauges and for what the log sums up: each second at what the workers' boards say, and every few seconds at how far the
//! logs have grown, in one question a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::consumer::Work;
use crate::kafka::Cluster;

/// How often the gauges are told.
const TELL: Duration = Duration::from_secs(1);
/// How often Kafka is asked where the logs end.
const ASK: Duration = Duration::from_secs(5);

/// Looks for ever; dropped when the process stops.
pub(super) async fn look(works: Vec<Arc<Work>>, cluster: Cluster) {
    tokio::join!(tell(&works), ask(&works, &cluster));
}

async fn tell(works: &[Arc<Work>]) {
    let mut ticks = interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for work in works {
            work.board.tell(work.outage.is_on());
            work.sum_up();
        }
    }
}

async fn ask(works: &[Arc<Work>], cluster: &Cluster) {
    loop {
        for (topic, partitions) in read(works) {
            let partitions: Vec<i32> = partitions.into_iter().collect();
            match cluster.ends(&topic, &partitions).await {
                Ok(ends) => {
                    for (partition, end) in ends {
                        works.iter().for_each(|work| work.board.ends_at(&topic, partition, end));
                    }
                }
                // The last answer stands; that a broker cannot be reached is said elsewhere.
                Err(error) => tracing::debug!(%topic, %error, "the ends of the logs cannot be asked for"),
            }
        }
        tokio::time::sleep(ASK).await;
    }
}

/// The partitions that are read here, whoever reads them.
fn read(works: &[Arc<Work>]) -> BTreeMap<Arc<str>, BTreeSet<i32>> {
    let mut read: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for seen in works.iter().flat_map(|work| work.board.seen()) {
        read.entry(seen.topic).or_default().insert(seen.partition);
    }
    read
}
