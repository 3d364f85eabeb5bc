//! A test's own world: a topic, a group, a database and a folder, and the ledger of what was produced.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::database::{Applied, Database, Kind, Position, SetAside};
use crate::kafka::{Kafka, Sent};
use crate::order::{Order, What};
use crate::servers::servers;
use crate::service::Launch;
use crate::tell::Told;
use crate::waiting::{PATIENCE, eventually};

/// The world of one test.
#[derive(Debug)]
pub struct Scene {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The database.
    pub database: Database,
    /// The broker.
    pub kafka: Kafka,
    kind: Kind,
    program: PathBuf,
    folder: PathBuf,
    brokers: String,
    ledger: Mutex<Vec<Produced>>,
    started: AtomicUsize,
}

/// A record that was written, as the ledger has it.
#[derive(Debug, Clone)]
pub struct Produced {
    /// Which order it carries.
    pub order: Order,
    /// Its message id, where it has one.
    pub message_id: Option<String>,
    /// Where it lies.
    pub partition: i32,
    /// Where it lies.
    pub offset: i64,
}

impl Scene {
    /// A topic of so many partitions, and a database of this kind, for this program.
    pub async fn new(kind: Kind, partitions: i32, program: &str) -> Self {
        Self::with_topic(kind, partitions, &[], program).await
    }

    /// The same with settings for the topic.
    pub async fn with_topic(kind: Kind, partitions: i32, config: &[(&str, &str)], program: &str) -> Self {
        let name = fresh_name();
        let folder = fresh_folder(&name);
        let database = Database::create(kind, &name, &folder).await;
        let scene = Self::of_parts(kind, database, &servers().kafka, &name, folder, program);
        scene.kafka.create_topic(&scene.topic, partitions, config).await;
        scene
    }

    /// A scene on servers of the test's own; its topic is the caller's to make.
    pub async fn on(kind: Kind, database_server: &str, brokers: &str, program: &str) -> Self {
        let name = fresh_name();
        let folder = fresh_folder(&name);
        let database = Database::create_at(kind, database_server, &name).await;
        Self::of_parts(kind, database, brokers, &name, folder, program)
    }

    /// A scene on another database server, whose database has the name of that one's.
    pub async fn on_of_the_same_name(one: &Scene, database_server: &str) -> Self {
        let name = fresh_name();
        let folder = fresh_folder(&name);
        let program = one.program.to_string_lossy().into_owned();
        let database = Database::create_at(one.kind, database_server, one.database.name()).await;
        Self::of_parts(one.kind, database, &one.brokers, &name, folder, &program)
    }

    /// Which database it is on.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn of_parts(
        kind: Kind,
        database: Database,
        brokers: &str,
        name: &str,
        folder: PathBuf,
        program: &str,
    ) -> Self {
        Scene {
            topic: format!("{name}.order"),
            group: name.to_owned(),
            database,
            kafka: Kafka::new(brokers),
            kind,
            program: program.into(),
            folder,
            brokers: brokers.to_owned(),
            ledger: Mutex::default(),
            started: AtomicUsize::new(0),
        }
    }

    /// The program of this scene with the three variables that a service needs, and no other.
    pub fn launch_bare(&self) -> Launch {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.join(format!("service-{number}.log"));
        Launch::new(&self.program, &self.folder, log)
            .env("EOS_KAFKA_BOOTSTRAP_SERVERS", &self.brokers)
            .env("EOS_KAFKA_GROUP", &self.group)
            .env("EOS_DATABASE_URL", self.database.url())
    }

    /// The same with what our own listeners need, and waits that suit a test.
    pub fn launch(&self) -> Launch {
        let listener = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mariadb",
            Kind::Sqlite => "sqlite",
        };
        self.launch_bare()
            .env("EOS__APP__TOPIC", &self.topic)
            .env("EOS__KAFKA__COMMIT_INTERVAL", "100ms")
            .env("EOS__DATABASE__VERIFY_EVERY", "300ms")
            .env("EOS__RETRY__BACKOFF", "50ms")
            .env("EOS__RETRY__MAX_BACKOFF", "500ms")
            .env("EOS_REDIS_URL", servers().redis)
            .env("SINK_LISTENER", listener)
            .env("SINK_TOLD", self.told().0.to_string_lossy())
            .env("SINK_GATE", self.gate().to_string_lossy())
            .kafka("session.timeout.ms", "2000")
            .kafka("heartbeat.interval.ms", "300")
    }

    /// What the handlers of this scene have told.
    pub fn told(&self) -> Told {
        Told(self.folder.join("told"))
    }

    /// The brokers, as `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The folder of this scene.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn gate(&self) -> PathBuf {
        self.folder.join("gate")
    }

    /// From now on, orders with [`What::Hold`] wait in their handlers.
    pub fn close_gate(&self) {
        std::fs::write(self.gate(), "").expect("the gate is closed");
    }

    /// Lets them go on.
    pub fn open_gate(&self) {
        std::fs::remove_file(self.gate()).expect("the gate is opened");
    }

    /// Produces orders, each with a message id of its own and its id as key.
    pub async fn produce(&self, what: What, count: usize) -> Vec<Produced> {
        self.write(None, what, count).await
    }

    /// Produces orders without a message id: their position alone keeps them from being applied twice.
    pub async fn produce_without_ids(&self, count: usize) -> Vec<Produced> {
        self.produce_orders(None, (0..count).map(|_| (Order::new(What::Insert), None)).collect()).await
    }

    /// Produces orders to one partition.
    pub async fn produce_to(&self, partition: i32, what: What, count: usize) -> Vec<Produced> {
        self.write(Some(partition), what, count).await
    }

    async fn write(&self, partition: Option<i32>, what: What, count: usize) -> Vec<Produced> {
        let orders = (0..count).map(|_| Order::new(what));
        let orders = orders.map(|order| (order, Some(uuid::Uuid::new_v4().to_string()))).collect();
        self.produce_orders(partition, orders).await
    }

    /// Produces these records again, under the same message ids, as a producer does that was not told of its success.
    pub async fn produce_again(&self, produced: &[Produced]) -> Vec<Produced> {
        let orders: Vec<_> =
            produced.iter().map(|sent| (sent.order.clone(), sent.message_id.clone())).collect();
        let records: Vec<Sent> = produced
            .iter()
            .map(|sent| record(&sent.order, sent.message_id.as_deref(), Some(sent.partition)))
            .collect();
        let written = self.kafka.produce(&self.topic, &records).await;
        self.enter(orders, written)
    }

    /// Produces these orders under these message ids.
    pub async fn produce_orders(
        &self,
        partition: Option<i32>,
        orders: Vec<(Order, Option<String>)>,
    ) -> Vec<Produced> {
        let records: Vec<Sent> =
            orders.iter().map(|(order, id)| record(order, id.as_deref(), partition)).collect();
        let written = self.kafka.produce(&self.topic, &records).await;
        self.enter(orders, written)
    }

    /// Produces orders in a Kafka transaction. Those of an aborted one are not in the ledger.
    pub async fn produce_in_transaction(&self, partition: i32, count: usize, commit: bool) {
        let orders: Vec<(Order, Option<String>)> =
            (0..count).map(|_| (Order::new(What::Insert), Some(uuid::Uuid::new_v4().to_string()))).collect();
        let records =
            orders.iter().map(|(order, id)| record(order, id.as_deref(), Some(partition))).collect();
        let written = self.kafka.produce_in_transaction(&self.topic, records, commit).await;
        if commit {
            self.enter(orders, written);
        }
    }

    fn enter(&self, orders: Vec<(Order, Option<String>)>, written: Vec<(i32, i64)>) -> Vec<Produced> {
        let produced: Vec<Produced> = orders
            .into_iter()
            .zip(written)
            .map(|((order, message_id), (partition, offset))| Produced {
                order,
                message_id,
                partition,
                offset,
            })
            .collect();
        self.ledger.lock().expect("no test panics in here").extend(produced.iter().cloned());
        produced
    }

    /// What was produced so far.
    pub fn ledger(&self) -> Vec<Produced> {
        self.ledger.lock().expect("no test panics in here").clone()
    }

    /// Takes records out of the ledger that no reader can see any more, and so cannot be missing.
    pub fn forget(&self, gone: impl Fn(&Produced) -> bool) {
        self.ledger.lock().expect("no test panics in here").retain(|produced| !gone(produced));
    }

    /// How many orders are applied.
    pub async fn applied(&self) -> usize {
        self.database.applied().await.map_or(0, |applied| applied.len())
    }

    /// Waits until at least so many orders are applied.
    pub async fn has_applied(&self, count: usize) {
        eventually(&format!("{count} orders are applied"), PATIENCE, async || match self.applied().await {
            applied if applied >= count => Ok(()),
            applied => Err(format!("{applied} are")),
        })
        .await;
    }

    /// Waits until so many handlers have begun, at least.
    pub async fn has_begun(&self, count: usize) {
        eventually(&format!("{count} handlers have begun"), PATIENCE, async || match self.told().begun() {
            begun if begun >= count => Ok(()),
            begun => Err(format!("{begun} have")),
        })
        .await;
    }

    /// Waits until nothing is parked.
    pub async fn nothing_is_parked(&self) {
        let parked = async || match self.database.parked(&self.group, &self.topic).await {
            Ok(0) => Ok(()),
            Ok(parked) => Err(format!("{parked} are")),
            Err(error) => Err(error.to_string()),
        };
        eventually("nothing is parked", PATIENCE, parked).await;
    }

    /// That the orders of each customer, whose records have one key, were applied in the order of the log.
    pub async fn assert_customers_in_order(&self) {
        let ledger = self.ledger();
        let customers: HashMap<String, String> =
            ledger.iter().map(|sent| (sent.order.order_id.to_string(), sent.order.key())).collect();
        let mut last: HashMap<&str, i64> = HashMap::new();
        for effect in self.database.applied_in_order().await.expect("effects can be read") {
            let customer = &*customers[&effect.order_id];
            let before = last.insert(customer, effect.off);
            assert!(
                before.is_none_or(|before| before < effect.off),
                "the order of {customer} at {} was applied after that at {before:?}",
                effect.off
            );
        }
    }

    /// What is set aside, nothing while there are no tables.
    pub async fn dead_letters(&self) -> Vec<SetAside> {
        self.database.dead_letters(&self.group, &self.topic).await.unwrap_or_default()
    }

    /// The positions, none while there are no tables.
    pub async fn positions(&self) -> Vec<Position> {
        self.database.positions(&self.group, &self.topic).await.unwrap_or_default()
    }

    /// Waits until every position is behind the last record of its partition.
    pub async fn is_caught_up(&self, within: Duration) {
        let ends = self.ends();
        eventually("every record is done with", within, async || {
            let at: HashMap<i32, i64> = self
                .positions()
                .await
                .iter()
                .map(|position| (position.partition, position.next_offset))
                .collect();
            let behind: Vec<String> = ends
                .iter()
                .filter(|(partition, end)| at.get(partition).is_none_or(|at| at < end))
                .map(|(partition, end)| {
                    format!("partition {partition} is at {:?} of {end}", at.get(partition))
                })
                .collect();
            if behind.is_empty() { Ok(()) } else { Err(behind.join(", ")) }
        })
        .await;
    }

    /// The promise: waits until all records are done with, then compares effects, inbox, positions and what is set aside with
    /// the ledger. An order that [no attempt can serve](What::never_succeeds) may be set aside once instead.
    pub async fn every_order_once(&self) {
        self.is_caught_up(PATIENCE).await;
        self.assert_every_order_once().await;
    }

    /// The promise, as it stands now.
    pub async fn assert_every_order_once(&self) {
        let wrong = self.what_is_wrong().await;
        assert!(
            wrong.is_empty(),
            "not every order once, in group {} on topic {}:\n  {}",
            self.group,
            self.topic,
            wrong[..wrong.len().min(20)].join("\n  ")
        );
    }

    async fn what_is_wrong(&self) -> Vec<String> {
        let ledger = self.ledger();
        let applied = self.database.applied().await.expect("effects can be read");
        let positions =
            self.database.positions(&self.group, &self.topic).await.expect("positions can be read");
        let inbox = self.database.inbox(&self.group, &self.topic).await.expect("the inbox can be read");
        let streams = self.database.streams(&self.group, &self.topic).await.expect("streams can be read");
        let set_aside = self.database.dead_letters(&self.group, &self.topic).await;
        let mut wrong =
            effects_disagree(&ledger, &applied, &set_aside.expect("what is set aside can be read"));
        wrong.extend(positions_disagree(&ledger, &positions, self.ends()));
        wrong.extend(inbox_disagrees(&ledger, &inbox));
        if streams != 1 {
            wrong.push(format!("the group and topic have {streams} numbers in eos_stream"));
        }
        wrong
    }

    /// Where each partition's log ends, by the ledger.
    fn ends(&self) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        for produced in self.ledger() {
            let end = ends.entry(produced.partition).or_insert(0);
            *end = (produced.offset + 1).max(*end);
        }
        ends
    }
}

fn effects_disagree(ledger: &[Produced], applied: &[Applied], set_aside: &[SetAside]) -> Vec<String> {
    let mut aside: HashMap<String, usize> = HashMap::new();
    let mut wrong = Vec::new();
    for letter in set_aside {
        let at = (letter.partition, letter.offset);
        match ledger.iter().find(|sent| (sent.partition, sent.offset) == at) {
            Some(sent) if sent.order.what.never_succeeds() => {
                *aside.entry(sent.order.order_id.to_string()).or_default() += 1;
            }
            Some(_) => wrong.push(format!("a good order is set aside: {letter:?}")),
            None => {}
        }
    }
    let mut times: HashMap<&str, Vec<&Applied>> = HashMap::new();
    for effect in applied {
        times.entry(&effect.order_id).or_default().push(effect);
    }
    let ids: HashMap<String, (i32, i64)> = ledger
        .iter()
        .map(|produced| (produced.order.order_id.to_string(), (produced.partition, produced.offset)))
        .collect();
    for (id, at) in &ids {
        match (times.get(id.as_str()).map_or(&[][..], Vec::as_slice), aside.get(id).copied().unwrap_or(0)) {
            ([], 0) => wrong.push(format!("order {id} at {at:?} is lost")),
            ([_], 0) | ([], 1) => {}
            (several, aside) => wrong.push(format!(
                "order {id} at {at:?} is applied {} times and set aside {aside} times: {several:?}",
                several.len()
            )),
        }
    }
    wrong.extend(
        times.keys().filter(|id| !ids.contains_key(**id)).map(|id| format!("order {id} was never produced")),
    );
    wrong
}

fn positions_disagree(ledger: &[Produced], positions: &[Position], ends: BTreeMap<i32, i64>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (partition, end) in ends {
        match positions.iter().find(|position| position.partition == partition) {
            None => wrong.push(format!("partition {partition} has no position")),
            Some(position) if position.next_offset != end => {
                wrong.push(format!(
                    "partition {partition} is at {} and not at its end {end}",
                    position.next_offset
                ));
            }
            Some(position) => {
                let last =
                    ledger.iter().filter(|sent| sent.partition == partition).map(|sent| sent.offset).max();
                if position.last_offset != last {
                    wrong.push(format!(
                        "partition {partition} remembers {:?}, not {last:?}",
                        position.last_offset
                    ));
                }
            }
        }
    }
    wrong
}

fn inbox_disagrees(ledger: &[Produced], inbox: &[Vec<u8>]) -> Vec<String> {
    let produced: HashSet<&[u8]> =
        ledger.iter().filter_map(|sent| sent.message_id.as_deref().map(str::as_bytes)).collect();
    let kept: HashSet<&[u8]> = inbox.iter().map(Vec::as_slice).collect();
    let mut wrong = Vec::new();
    let missing = produced.difference(&kept).count();
    if missing > 0 {
        wrong.push(format!("{missing} message ids are not in the inbox"));
    }
    let extra = kept.difference(&produced).count();
    if extra > 0 {
        wrong.push(format!("{extra} message ids in the inbox were never produced"));
    }
    wrong
}

fn record(order: &Order, message_id: Option<&str>, partition: Option<i32>) -> Sent {
    Sent {
        partition,
        key: Some(order.key().into_bytes()),
        payload: Some(serde_json::to_vec(order).expect("an order is JSON")),
        headers: message_id
            .map(|id| ("message-id".to_owned(), Some(id.as_bytes().to_vec())))
            .into_iter()
            .collect(),
    }
}

fn fresh_name() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("eos_test_{}", &random[..12])
}

fn fresh_folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

impl Drop for Scene {
    /// Topic and database go, and the folder unless somebody wants to look at its logs.
    fn drop(&mut self) {
        let (database, brokers, topic) = (self.database.clone(), self.brokers.clone(), self.topic.clone());
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    database.throw_away().await;
                    Kafka::throw_away(&brokers, &topic).await;
                });
            }
        });
        drop(done.join());
        if std::thread::panicking() {
            eprintln!("the logs of the services are kept in {}", self.folder.display());
        } else {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}
