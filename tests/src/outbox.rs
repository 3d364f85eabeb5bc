//! A scene for relays: services that publish, here in the test's own process, and a ledger of what they committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use eos_runtime::Headers;

use crate::database::{Kind, on_database};
use crate::kafka::Seen;
use crate::scene::Scene;
use crate::service::Launch;
use crate::waiting::{PATIENCE, eventually};

/// How a relay publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// At least once.
    AtLeastOnce,
    /// Once, for readers that wait for commits.
    ExactlyOnce,
}

/// An event as bytes.
#[derive(Debug, Clone)]
pub struct Raw<'a> {
    /// Where it goes.
    pub topic: &'a str,
    /// Its key.
    pub key: Option<&'a str>,
    /// Its payload; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Headers,
}

impl<'a> Raw<'a> {
    /// Without headers.
    pub fn new(topic: &'a str, key: Option<&'a str>, payload: Option<&[u8]>) -> Self {
        Raw { topic, key, payload: payload.map(<[u8]>::to_vec), headers: Headers::default() }
    }
}

/// A scene whose program is a relay.
#[derive(Debug)]
pub struct Events {
    /// Topic, database and broker.
    pub scene: Scene,
    /// What was committed: keys, and the numbers that each of them has in their order.
    committed: Mutex<BTreeMap<String, Vec<u64>>>,
    numbers: AtomicU64,
}

impl Events {
    /// A topic of so many partitions, and a database with the tables of eos.
    pub async fn new(kind: Kind, partitions: i32, program: &str) -> Self {
        Self::of(Scene::new(kind, partitions, program).await).await
    }

    /// On a scene that is there.
    pub async fn of(scene: Scene) -> Self {
        on_database!(&scene.database, pool => eos_runtime::migrate(pool).await.expect("the tables are made"));
        Events { scene, committed: Mutex::default(), numbers: AtomicU64::new(0) }
    }

    /// How to start a relay.
    pub fn relay(&self, delivery: Delivery) -> Launch {
        self.scene.launch_bare().env("EOS__OUTBOX__LEASE", "2s").env(
            "EOS__OUTBOX__DELIVERY",
            match delivery {
                Delivery::AtLeastOnce => "at_least_once",
                Delivery::ExactlyOnce => "exactly_once",
            },
        )
    }

    /// One transaction that publishes these; they are in no ledger.
    pub async fn publish(&self, events: &[Raw<'_>]) {
        on_database!(&self.scene.database, pool => {
            let mut tx = eos_runtime::begin(pool).await.expect("it begins");
            for Raw { topic, key, payload, headers } in events.iter().cloned() {
                tx.publish_to(topic, key, payload, headers).await.expect("published");
            }
            tx.commit().await.expect("committed");
        });
    }

    /// One transaction with an event for each of these keys; their payloads are numbers that grow.
    pub async fn commit(&self, keys: &[&str]) {
        self.try_commit(keys).await.expect("it is committed");
    }

    /// The same, which may fail, as where a server is down.
    pub async fn try_commit(&self, keys: &[&str]) -> Result<(), eos_runtime::TxError> {
        let numbers: Vec<u64> = keys.iter().map(|_| self.numbers.fetch_add(1, Ordering::Relaxed)).collect();
        let topic = &self.scene.topic;
        on_database!(&self.scene.database, pool => {
            let mut tx = eos_runtime::begin(pool).await?;
            for (key, number) in keys.iter().zip(&numbers) {
                tx.publish_to(topic, *key, *number, Headers::default()).await?;
            }
            tx.commit().await?;
        });
        let mut committed = self.committed.lock().expect("no panic");
        for (key, number) in keys.iter().zip(numbers) {
            committed.entry((*key).to_owned()).or_default().push(number);
        }
        Ok(())
    }

    /// How many events were committed.
    pub fn count(&self) -> usize {
        self.committed.lock().expect("no panic").values().map(Vec::len).sum()
    }

    /// How many entries the table has.
    pub async fn waiting(&self) -> i64 {
        self.scene.database.number("select count(*) from eos_outbox").await.expect("the table is there")
    }

    /// Waits until every event that was committed is in the topic, and the table is empty.
    pub async fn all_published(&self) -> Vec<Seen> {
        eventually("the outbox is empty", PATIENCE * 2, async || match self.waiting().await {
            0 => Ok(()),
            left => Err(format!("{left} entries are left")),
        })
        .await;
        let seen = self.scene.kafka.read(&self.scene.topic).await;
        self.nothing_is_missing(&seen);
        seen
    }

    /// Each committed event is there, and nothing else is.
    pub fn nothing_is_missing(&self, seen: &[Seen]) {
        let committed = self.committed.lock().expect("no panic");
        let wanted: BTreeSet<(String, u64)> = committed
            .iter()
            .flat_map(|(key, numbers)| numbers.iter().map(|number| (key.clone(), *number)))
            .collect();
        let there: BTreeSet<(String, u64)> =
            seen.iter().map(|seen| (seen.key_text(), number(seen))).collect();
        let (lost, invented): (Vec<_>, Vec<_>) =
            (wanted.difference(&there).collect(), there.difference(&wanted).collect());
        let few = |some: &[&(String, u64)]| format!("{} as {:?}", some.len(), &some[..some.len().min(5)]);
        assert!(lost.is_empty() && invented.is_empty(), "lost: {}; invented: {}", few(&lost), few(&invented));
    }

    /// Each id is there once.
    pub fn nothing_is_there_twice(&self, seen: &[Seen]) {
        let mut ids = BTreeMap::<String, Vec<(i32, i64, String)>>::new();
        for seen in seen {
            ids.entry(seen.id()).or_default().push((seen.partition, seen.offset, seen.text()));
        }
        let twice: Vec<_> = ids.iter().filter(|(_, places)| places.len() > 1).collect();
        assert!(twice.is_empty(), "{} published twice, as {:?}", twice.len(), &twice[..twice.len().min(3)]);
    }

    /// The events of each key are there in the order in which they were committed; what is repeated later is left out.
    pub fn keys_are_in_order(&self, seen: &[Seen]) {
        let committed = self.committed.lock().expect("no panic");
        for (key, wanted) in committed.iter() {
            let mut known = BTreeSet::new();
            let first: Vec<u64> = seen
                .iter()
                .filter(|seen| seen.key_text() == *key)
                .map(number)
                .filter(|number| known.insert(*number))
                .collect();
            let differs = first.iter().zip(wanted).position(|(first, wanted)| first != wanted);
            assert!(
                first == *wanted,
                "the key {key} has {} of {} events; the first difference is at {differs:?}",
                first.len(),
                wanted.len()
            );
        }
    }
}

fn number(seen: &Seen) -> u64 {
    seen.text().parse().unwrap_or_else(|_| panic!("a number: {seen:?}"))
}
