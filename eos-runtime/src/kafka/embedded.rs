//! A broker within the process, for a first look and for tests of the flow of records.
//!
//! It is librdkafka's own mock: it serves this process and others over TCP, keeps everything in memory, and **proves
//! nothing about exactly once**. It loses its log when it ends, keeps at most 5 MB and 100,000 records of a partition
//! (older ones vanish as by retention), and answers transactions without meaning it. Groups need the classic protocol.
//! It holds a group's first join for 3 s, and takes members for dead meanwhile whose `session.timeout.ms` is shorter:
//! they wait for ever. 3500, with `heartbeat.interval.ms` 100, works.

use std::fmt;
use std::sync::mpsc;
use std::thread;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A broker in this process; it ends when this is dropped.
///
/// ```
/// use eos_runtime::embedded::EmbeddedBroker;
///
/// let broker = EmbeddedBroker::start()?;
/// broker.create_topic("event.order", 4)?;
/// assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"));
/// # Ok::<(), eos_runtime::embedded::EmbeddedBrokerError>(())
/// ```
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    tasks: mpsc::Sender<Task>,
}

/// The broker could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("the embedded broker failed")]
pub struct EmbeddedBrokerError(#[source] Box<dyn std::error::Error + Send + Sync>);

type Broker = MockCluster<'static, DefaultProducerContext>;
type Task = Box<dyn FnOnce(&Broker) + Send>;

impl EmbeddedBroker {
    /// Starts it on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When there are no ports or threads to be had.
    pub fn start() -> Result<Self, EmbeddedBrokerError> {
        let (tasks, todo) = mpsc::channel::<Task>();
        let (started, start) = mpsc::channel();
        // librdkafka's handle must stay on one thread; this one owns it, and ends with the last sender.
        thread::Builder::new()
            .name("eos-embedded-broker".to_owned())
            .spawn(move || match Broker::new(1) {
                Ok(broker) => {
                    drop(started.send(Ok(broker.bootstrap_servers())));
                    todo.iter().for_each(|task| task(&broker));
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(|error| EmbeddedBrokerError(error.into()))?;
        let bootstrap_servers = start.recv().map_err(|error| EmbeddedBrokerError(error.into()))?;
        let bootstrap_servers = bootstrap_servers.map_err(|error| EmbeddedBrokerError(error.into()))?;
        Ok(EmbeddedBroker { bootstrap_servers, tasks })
    }

    /// What clients connect to: `[kafka] bootstrap_servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// When it exists already, or its name is none.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), EmbeddedBrokerError> {
        let name = name.to_owned();
        let partitions = i32::try_from(partitions).map_err(|error| EmbeddedBrokerError(error.into()))?;
        self.run(move |broker| broker.create_topic(&name, partitions, 1))
    }

    /// Does something with the mock cluster itself.
    pub(crate) fn run(
        &self,
        task: impl FnOnce(&Broker) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), EmbeddedBrokerError> {
        let (reply, answer) = mpsc::channel();
        let task: Task = Box::new(move |broker| drop(reply.send(task(broker))));
        self.tasks.send(task).map_err(|_| EmbeddedBrokerError("it has ended".into()))?;
        let answer = answer.recv().map_err(|error| EmbeddedBrokerError(error.into()))?;
        answer.map_err(|error| EmbeddedBrokerError(error.into()))
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}
