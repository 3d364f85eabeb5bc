//! A broker within the process, for a first look and for tests of the flow of records.
//!
//! It is librdkafka's own mock: it serves this process and others over TCP, keeps everything in memory, and **proves
//! nothing about exactly once**. It loses its log when it ends, keeps at most 5 MB and 100,000 records of a partition
//! (older ones vanish as by retention), and answers transactions without meaning it. Groups need the classic protocol.
//! It holds a group's first join for 3 s, and takes members for dead meanwhile whose `session.timeout.ms` is shorter:
//! they wait for ever. 3500, with `heartbeat.interval.ms` 100, works; shorter sessions, so that a member that was killed
//! is soon replaced, want a group that [`create_group`](EmbeddedBroker::create_group) has made.

use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
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
    /// The members that keep groups from being empty; before `tasks`, since they end while there is a broker to leave.
    keepers: Mutex<Vec<Keeper>>,
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
        Ok(EmbeddedBroker { bootstrap_servers, keepers: Mutex::default(), tasks })
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

    /// Makes a group whose members may be killed and replaced quickly, since their `session.timeout.ms` is shorter than
    /// three seconds and the same for all of them. It takes three seconds.
    ///
    /// A member of the broker's own is brought in, and stays: the group is never empty, and nobody else has to join an
    /// empty one. A session of 1.5 s does best; what it has over a second is how long a rebalance takes.
    ///
    /// # Errors
    /// When the group cannot be joined, or there are no threads to be had.
    pub fn create_group(&self, name: &str, session: Duration) -> Result<(), EmbeddedBrokerError> {
        if session >= Keeper::GATHERING {
            return Ok(()); // its members need no help
        }
        let topic = format!("{name}.keeper");
        self.create_topic(&topic, 1)?;
        let keeper = Keeper::join(&self.bootstrap_servers, name, &topic, session)?;
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner).push(keeper);
        Ok(())
    }

    /// Does something with the mock cluster itself.
    pub(crate) fn run(
        &self,
        task: impl FnOnce(&Broker) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), EmbeddedBrokerError> {
        let (reply, answer) = mpsc::channel();
        let task: Task = Box::new(move |broker| drop(reply.send(task(broker))));
        self.tasks.send(task).map_err(|_| EmbeddedBrokerError("it has ended".into()))?;
        answer.recv().map_err(|error| EmbeddedBrokerError(error.into()))?.map_err(EmbeddedBrokerError::from)
    }
}

/// A group's member that only stays; it leaves when it is dropped.
struct Keeper {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// How long the mock waits for more members when somebody joins an empty group.
    const GATHERING: Duration = Duration::from_secs(3);

    fn join(servers: &str, group: &str, topic: &str, session: Duration) -> Result<Self, EmbeddedBrokerError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", servers)
            .set("group.id", group)
            .set("session.timeout.ms", session.as_millis().to_string())
            .set("heartbeat.interval.ms", (session / 8).as_millis().to_string());
        // First a stranger knocks: the gathering begins, and it is forgotten. Whoever comes towards the end is let in,
        // unless this machine is so busy that it comes too late.
        for _ in 0..3 {
            let knocked =
                knock(servers, group, session).map_err(|error| EmbeddedBrokerError(error.into()))?;
            thread::sleep(Self::GATHERING - session * 2 / 3);
            let member: BaseConsumer = client.create()?;
            member.subscribe(&[topic])?;
            let deadline = Instant::now() + Self::GATHERING;
            while Instant::now() < deadline {
                drop(member.poll(Duration::from_millis(10)));
                if member.assignment()?.count() > 0 {
                    return Self::stay(member);
                }
            }
            drop(knocked);
        }
        Err(EmbeddedBrokerError(format!("the group `{group}` does not begin").into()))
    }

    fn stay(member: BaseConsumer) -> Result<Self, EmbeddedBrokerError> {
        let leave = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leave);
        let stay = move || {
            while !told.load(Ordering::Acquire) {
                drop(member.poll(Duration::from_millis(50)));
            }
        };
        let thread = thread::Builder::new().name("eos-embedded-group".to_owned()).spawn(stay);
        Ok(Keeper { leave, thread: Some(thread.map_err(|error| EmbeddedBrokerError(error.into()))?) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Release);
        // Its panic, if there was one, has been printed.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Sends Kafka's `JoinGroup`, version 0, and nothing more: a client of librdkafka would wait for the answer that never
/// comes, also when it is to end.
fn knock(servers: &str, group: &str, session: Duration) -> io::Result<TcpStream> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let session = u32::try_from(session.as_millis()).unwrap_or(u32::MAX);
    let request = [
        &[0, 11, 0, 0, 0, 0, 0, 1][..], // the request's kind, its version, its number
        &text("knock"),
        &text(group),
        &session.to_be_bytes(),
        &text(""), // no member yet
        &text("consumer"),
        &[0, 0, 0, 1], // one way to assign partitions, without details
        &text("range"),
        &[0, 0, 0, 0],
    ]
    .concat();
    let mut connection = TcpStream::connect(servers)?;
    connection.write_all(&(request.len() as u32).to_be_bytes())?;
    connection.write_all(&request)?;
    Ok(connection)
}

impl From<KafkaError> for EmbeddedBrokerError {
    fn from(error: KafkaError) -> Self {
        EmbeddedBrokerError(error.into())
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_with_short_sessions_are_let_in() {
        let session = Duration::from_millis(1500);
        let broker = EmbeddedBroker::start().expect("a broker");
        broker.create_topic("event.order", 2).expect("a topic");
        broker.create_group("billing", session).expect("a group");
        let join = || {
            let member: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", broker.bootstrap_servers())
                .set("group.id", "billing")
                .set("session.timeout.ms", session.as_millis().to_string())
                .set("heartbeat.interval.ms", "100")
                .create()
                .expect("a client");
            member.subscribe(&["event.order"]).expect("a subscription");
            member
        };
        let members = [join(), join()];
        let partitions = |member: &BaseConsumer| {
            drop(member.poll(Duration::from_millis(10)));
            member.assignment().expect("an assignment").count()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while members.iter().any(|member| partitions(member) != 1) {
            assert!(Instant::now() < deadline, "both members have a partition by now");
        }
    }
}
