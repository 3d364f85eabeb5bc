//! A network that misbehaves: a TCP proxy in front of a server, which loses what a test wants to be lost.
//!
//! In front of a database it knows a COMMIT, or whatever a test wants, by its text. In front of Kafka it knows a request by its API key
//! (<https://kafka.apache.org/protocol>: a length, the key, a version, …). A broker also tells its clients where it is,
//! and they go there: so the proxy writes its own port over the broker's in every answer, which changes no length.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Kafka's key for OffsetCommit.
pub const OFFSET_COMMIT: i16 = 8;

/// What becomes of a request that a rule is about. The connection is lost in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It never reaches the server.
    Request,
    /// The server does it, and its answer never arrives.
    Answer,
    /// The client loses its connection at once; the request reaches the server later.
    Late(Duration),
}

/// A proxy in front of one server; dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients find it, on `127.0.0.1`.
    pub port: u16,
    rule: Arc<Rule>,
    cut: Arc<Notify>,
    frozen: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// In front of the database at `host:port`; its rules are about COMMIT.
    pub async fn sql(server: &str) -> Self {
        Self::sql_about(server, "commit").await
    }

    /// In front of the database at `host:port`; its rules are about messages that say this, in small letters.
    pub async fn sql_about(server: &str, words: &'static str) -> Self {
        Self::start(server, |_| Protocol::Sql(words)).await
    }

    /// In front of the broker at `host:port`; its rules are about requests with this API key.
    pub async fn kafka(server: &str, key: i16) -> Self {
        let (host, port) = server.rsplit_once(':').expect("host:port");
        assert!(
            matches!(host, "127.0.0.1" | "localhost"),
            "the proxy in front of Kafka needs a broker on loopback, and this one is at {host}"
        );
        let broker = advertised(host, port.parse().expect("a port"));
        Self::start(server, |port| Protocol::Kafka { key, broker, ours: advertised(host, port) }).await
    }

    async fn start(server: &str, protocol: impl FnOnce(u16) -> Protocol) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (rule, cut) = (Arc::new(Rule::default()), Arc::new(Notify::new()));
        let (frozen, is_frozen) = watch::channel(false);
        let front = Front {
            server: server.to_owned(),
            protocol: protocol(port),
            rule: Arc::clone(&rule),
            cut: Arc::clone(&cut),
            is_frozen,
        };
        let accepting = tokio::spawn(accept(listener, Arc::new(front)));
        Proxy { port, rule, cut, frozen, accepting }
    }

    /// Loses one such request in `every`, `times` in all.
    pub fn lose(&self, loss: Loss, every: u32, times: u32) {
        *self.rule.armed.lock().expect("never poisoned") = Some(Armed { loss, every, left: times, seen: 0 });
    }

    /// How many were lost.
    pub fn lost(&self) -> u32 {
        self.rule.lost.load(Ordering::Acquire)
    }

    /// Takes connections, and passes nothing on.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Goes on with what has come meanwhile.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Cuts every connection there is.
    pub fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Which requests are lost.
#[derive(Debug, Default)]
struct Rule {
    armed: Mutex<Option<Armed>>,
    lost: AtomicU32,
}

#[derive(Debug)]
struct Armed {
    loss: Loss,
    /// One in so many.
    every: u32,
    /// How many more.
    left: u32,
    seen: u32,
}

impl Rule {
    /// What becomes of the next request that the rule is about.
    fn next(&self) -> Option<Loss> {
        let mut armed = self.armed.lock().expect("never poisoned");
        let armed = armed.as_mut().filter(|armed| armed.left > 0)?;
        armed.seen += 1;
        if armed.seen % armed.every != 0 {
            return None;
        }
        armed.left -= 1;
        self.lost.fetch_add(1, Ordering::AcqRel);
        Some(armed.loss)
    }
}

enum Protocol {
    /// What its rules are about.
    Sql(&'static str),
    Kafka {
        key: i16,
        broker: Vec<u8>,
        ours: Vec<u8>,
    },
}

/// A host and its port, as Kafka's answers have them one after the other.
fn advertised(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = host.as_bytes().to_vec();
    bytes.extend_from_slice(&u32::from(port).to_be_bytes());
    bytes
}

impl Protocol {
    /// The next bytes to pass on together: what has arrived, or a whole frame of Kafka's.
    async fn read(&self, from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
        match self {
            Protocol::Sql(_) => {
                let mut bytes = vec![0; 64 * 1024];
                let read = from.read(&mut bytes).await?;
                bytes.truncate(read);
                if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
            }
            Protocol::Kafka { .. } => {
                let length = from.read_u32().await?;
                let mut bytes = length.to_be_bytes().to_vec();
                bytes.resize(4 + length as usize, 0);
                from.read_exact(&mut bytes[4..]).await?;
                Ok(bytes)
            }
        }
    }

    /// Whether the rules are about this request. On loopback a statement of a few hundred bytes arrives whole.
    fn concerns(&self, request: &[u8]) -> bool {
        match self {
            Protocol::Sql(words) => {
                let text = String::from_utf8_lossy(request).to_ascii_lowercase();
                text.replace("read committed", "").contains(words)
            }
            Protocol::Kafka { key, .. } => request.get(4..6) == Some(&key.to_be_bytes()),
        }
    }

    fn rewrite(&self, answer: &mut [u8]) {
        let Protocol::Kafka { broker, ours, .. } = self else { return };
        let mut at = 0;
        while let Some(found) = answer[at..].windows(broker.len()).position(|bytes| bytes == broker) {
            answer[at + found..][..ours.len()].copy_from_slice(ours);
            at += found + ours.len();
        }
    }
}

/// What all connections of a proxy share.
struct Front {
    server: String,
    protocol: Protocol,
    rule: Arc<Rule>,
    cut: Arc<Notify>,
    is_frozen: watch::Receiver<bool>,
}

impl Front {
    /// Waits while all is frozen.
    async fn thawed(&self) {
        // Whoever drops the proxy ends its connections as well.
        drop(self.is_frozen.clone().wait_for(|frozen| !frozen).await);
    }
}

async fn accept(listener: TcpListener, front: Arc<Front>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let front = Arc::clone(&front);
        connections.spawn(async move {
            let cut = Arc::clone(&front.cut);
            tokio::select! {
                () = cut.notified() => {}
                // Either end has gone, which the other hears by the drop.
                _ = connection(client, &front) => {}
            }
        });
    }
}

async fn connection(client: TcpStream, front: &Front) -> io::Result<()> {
    let server = TcpStream::connect(&front.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let muted = AtomicBool::new(false);
    let late = tokio::select! {
        late = requests(front, &mut from_client, &mut to_server, &muted) => late?,
        done = answers(front, &mut from_server, &mut to_client, &muted) => return done,
    };
    let Some((wait, request)) = late else { return Ok(()) };
    drop((from_client, to_client));
    tokio::time::sleep(wait).await;
    to_server.write_all(&request).await?;
    front.protocol.read(&mut from_server).await.map(drop)
}

/// Passes requests on until one is lost; one that is to come late is handed back.
async fn requests(
    front: &Front,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    muted: &AtomicBool,
) -> io::Result<Option<(Duration, Vec<u8>)>> {
    loop {
        let request = front.protocol.read(from).await?;
        front.thawed().await;
        let loss = if front.protocol.concerns(&request) { front.rule.next() } else { None };
        match loss {
            Some(Loss::Request) => return Ok(None),
            Some(Loss::Late(wait)) => return Ok(Some((wait, request))),
            Some(Loss::Answer) => muted.store(true, Ordering::Release),
            None => {}
        }
        to.write_all(&request).await?;
    }
}

/// Passes answers on until one is not to arrive.
async fn answers(
    front: &Front,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    muted: &AtomicBool,
) -> io::Result<()> {
    loop {
        let mut answer = front.protocol.read(from).await?;
        front.thawed().await;
        if muted.load(Ordering::Acquire) {
            return Ok(());
        }
        front.protocol.rewrite(&mut answer);
        to.write_all(&answer).await?;
    }
}
