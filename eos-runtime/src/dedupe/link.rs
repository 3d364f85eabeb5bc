//! The way to Redis: one connection that all listeners share, made when it is first needed and made anew when it has broken.
//!
//! Requests of many partitions travel on it at the same time, so that a second one would gain nothing. Nothing here tries a
//! request again: whoever asked waits as the listener's outage says, and asks again. Who fails to connect fails for all who
//! wait for it, so that a hundred partitions do not wait out a hundred timeouts one after another.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, TlsMode, Value, from_redis_value,
};

use super::Down;
use super::scripts::{ALL, Script};
use crate::settings::{Redis, RedisAddress, RedisKind};

/// How long a connection that could not be made counts for those who come after.
const FAILED_FOR: Duration = Duration::from_millis(250);

/// Redis as it was set.
pub(crate) struct Link {
    /// The connection that is used, while there is one.
    live: Mutex<Option<Live>>,
    making: tokio::sync::Mutex<Making>,
    /// By which names the server knows the scripts.
    names: [(Script, String); ALL.len()],
    connect_timeout: Duration,
}

#[derive(Clone)]
struct Live {
    connection: Connection,
    /// Tells it from an earlier one.
    number: u64,
}

#[derive(Clone)]
enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// How a connection is made, by one at a time.
struct Making {
    maker: Maker,
    config: AsyncConnectionConfig,
    made: u64,
    failed: Option<(Instant, RedisError)>,
}

enum Maker {
    Node(Box<Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

impl Link {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// An address that the crate cannot use.
    pub(crate) fn new(settings: &Redis, address: &RedisAddress) -> Result<Arc<Self>, Down> {
        let maker = maker(settings, address).map_err(Down::of_redis)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let making = Making { maker, config, made: 0, failed: None };
        // Each sentinel may have to be asked before one of them answers.
        let tries = if address.kind == RedisKind::One { 1 } else { address.nodes.len() as u32 + 1 };
        Ok(Arc::new(Link {
            live: Mutex::default(),
            making: tokio::sync::Mutex::new(making),
            names: ALL.map(|script| (script, redis::Script::new(script).get_hash().to_owned())),
            connect_timeout: settings.connect_timeout * tries,
        }))
    }

    /// Runs a script on a key, with a token and a time.
    ///
    /// # Cancel safety
    /// Whether it is done where the future is dropped is not known, as where it fails.
    pub(crate) async fn run(
        &self,
        script: Script,
        key: &[u8],
        token: &[u8],
        time: Duration,
    ) -> Result<i64, Down> {
        self.try_run(script, key, token, time).await.map_err(Down::of_redis)
    }

    async fn try_run(&self, script: Script, key: &[u8], token: &[u8], time: Duration) -> RedisResult<i64> {
        let mut live = self.live().await?;
        let name = self.names.iter().find(|(known, _)| *known == script).map_or("", |(_, name)| name);
        let answer = match live.connection.ask(&command("EVALSHA", name, key, token, time)).await {
            // A server that was started anew, or a replica that took over, has not seen it yet.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                live.connection.ask(&command("EVAL", script, key, token, time)).await
            }
            answer => answer,
        };
        match answer.and_then(|value| Ok(from_redis_value(value)?)) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if spoils(&error) {
                    self.drop_connection(live.number);
                }
                Err(error)
            }
        }
    }

    /// The connection that is there, or a new one.
    async fn live(&self) -> RedisResult<Live> {
        let asked = Instant::now();
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let mut making = self.making.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        if let Some((at, error)) = &making.failed
            && (*at >= asked || at.elapsed() < FAILED_FOR)
        {
            return Err(error.clone());
        }
        let made = tokio::time::timeout(self.connect_timeout, making.make()).await;
        match made.unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
            Ok(connection) => {
                making.made += 1;
                making.failed = None;
                let live = Live { connection, number: making.made };
                *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                making.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Others may have made another one meanwhile.
    fn drop_connection(&self, number: u64) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.as_ref().is_some_and(|live| live.number == number) {
            *live = None;
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Connection {
    async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Connection::Node(node) => node.req_packed_command(command).await,
            Connection::Cluster(cluster) => cluster.req_packed_command(command).await,
        }
        .and_then(Value::extract_error)
    }
}

impl Making {
    async fn make(&mut self) -> RedisResult<Connection> {
        Ok(match &mut self.maker {
            Maker::Node(client) => {
                Connection::Node(client.get_multiplexed_async_connection_with_config(&self.config).await?)
            }
            Maker::Sentinel(client) => {
                Connection::Node(client.get_async_connection_with_config(&self.config).await?)
            }
            Maker::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// Whether a connection that said this is of no more use: it is broken, hangs, or leads to a server that must not be written to
/// any more. What a server answers otherwise (it has no memory left, say) another connection would be told as well.
fn spoils(error: &RedisError) -> bool {
    if let ErrorKind::Server(kind) = error.kind() {
        return matches!(
            kind,
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown
        );
    }
    error.kind() != ErrorKind::Extension
}

fn command(verb: &str, script: &str, key: &[u8], token: &[u8], time: Duration) -> Cmd {
    let mut command = Cmd::with_capacity(6, verb.len() + script.len() + key.len() + token.len() + 24);
    command.arg(verb).arg(script).arg(1).arg(key).arg(token).arg(time.as_millis() as u64);
    command
}

fn maker(settings: &Redis, address: &RedisAddress) -> RedisResult<Maker> {
    let (username, password) =
        (address.username.as_deref(), address.password.as_ref().map(|password| password.expose()));
    let addresses = || address.nodes.iter().map(|node| connection_address(node, address.tls));
    let mut login = RedisConnectionInfo::default().set_db(address.database);
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    match &address.kind {
        RedisKind::One => {
            let first =
                addresses().next().ok_or((ErrorKind::InvalidClientConfig, "an address has a host"))?;
            let info = first.into_connection_info()?.set_redis_settings(login);
            Ok(Maker::Node(Box::new(Client::open(info)?)))
        }
        RedisKind::Cluster => {
            let nodes = addresses()
                .map(|node| Ok(node.into_connection_info()?.set_redis_settings(login.clone())))
                .collect::<RedisResult<Vec<_>>>()?;
            let builder = ClusterClientBuilder::new(nodes)
                .connection_timeout(settings.connect_timeout)
                .response_timeout(settings.response_timeout)
                // Whoever asks waits by itself, and in the log.
                .retries(3);
            Ok(Maker::Cluster(Box::new(builder.build()?)))
        }
        RedisKind::Sentinel(master) => sentinel(settings, address, master, addresses().collect()),
    }
}

fn sentinel(
    settings: &Redis,
    address: &RedisAddress,
    master: &str,
    sentinels: Vec<ConnectionAddr>,
) -> RedisResult<Maker> {
    let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
        .set_client_to_redis_db(address.database);
    if address.tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(username) = &address.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &address.password {
        builder = builder.set_client_to_redis_password(password.expose());
    }
    if let Some(username) = &settings.sentinel_username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &settings.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.expose());
    }
    Ok(Maker::Sentinel(Box::new(builder.build()?)))
}

fn connection_address((host, port): &(String, u16), tls: bool) -> ConnectionAddr {
    let (host, port) = (host.clone(), *port);
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}
