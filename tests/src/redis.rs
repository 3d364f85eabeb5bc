//! Redis as a test sees it: what is in it, and what is done to it.

use std::process::{Child, Command, Stdio};

use redis::{Client, FromRedisValue, RedisResult};

use crate::private::free_port;
use crate::waiting::{PATIENCE, eventually};

/// A Redis that a test looks at.
#[derive(Debug, Clone)]
pub struct Redis {
    client: Client,
}

impl Redis {
    /// By its URL, or by its `host:port`.
    pub fn at(address: &str) -> Self {
        let url = if address.contains("://") { address.to_owned() } else { format!("redis://{address}") };
        Redis { client: Client::open(url).expect("an address") }
    }

    /// One command in words.
    pub async fn ask<T: FromRedisValue>(&self, words: &str) -> T {
        self.try_ask(words).await.unwrap_or_else(|error| panic!("{words}: {error}"))
    }

    /// One command in words, whatever comes of it.
    pub async fn try_ask<T: FromRedisValue>(&self, words: &str) -> RedisResult<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().expect("a command"));
        for word in words {
            command.arg(word);
        }
        let mut connection = self.client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }

    /// The keys that begin so.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        self.ask(&format!("KEYS {prefix}*")).await
    }
}

/// A sentinel of a test's own, which watches one master by the name `main`.
#[derive(Debug)]
pub struct Sentinel {
    child: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Sentinel {
    /// Watches the master at this port, and takes it for dead after half a second.
    pub async fn of(master: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("eos-sentinel-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let (port, file) = (free_port(), folder.join("sentinel.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
            folder.display()
        );
        std::fs::write(&file, text).expect("its settings can be written");
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(log);
        let sentinel = Sentinel { child: command.spawn().expect("redis-server can be run"), port, folder };
        let redis = Redis::at(&sentinel.address());
        eventually("the sentinel knows a replica", PATIENCE, async || {
            match redis.try_ask::<Vec<redis::Value>>("SENTINEL REPLICAS main").await {
                Ok(replicas) if !replicas.is_empty() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        sentinel
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it says the master is.
    pub async fn master(&self) -> u16 {
        let told: (String, u16) =
            Redis::at(&self.address()).ask("SENTINEL GET-MASTER-ADDR-BY-NAME main").await;
        told.1
    }
}

/// A cluster of a test's own, of three masters.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<(Child, u16)>,
    folder: std::path::PathBuf,
}

impl RedisCluster {
    /// Starts it, and waits until it is whole.
    pub async fn start() -> Self {
        const SLOTS: [&str; 3] = ["0 5460", "5461 10922", "10923 16383"];
        let folder = std::env::temp_dir().join(format!("eos-cluster-{}", uuid::Uuid::new_v4().simple()));
        let mut cluster = RedisCluster { nodes: Vec::new(), folder };
        for _ in SLOTS {
            let port = cluster_port();
            let dir = cluster.folder.join(port.to_string());
            std::fs::create_dir_all(&dir).expect("a folder can be made");
            let mut command = Command::new("redis-server");
            command.args(["--cluster-enabled", "yes", "--bind", "127.0.0.1", "--save", "", "--port"]);
            command.arg(port.to_string()).arg("--dir").arg(&dir).stdin(Stdio::null()).stdout(Stdio::null());
            cluster.nodes.push((command.spawn().expect("redis-server can be run"), port));
        }
        for ((_, port), slots) in cluster.nodes.iter().zip(SLOTS) {
            let node = Redis::at(&format!("127.0.0.1:{port}"));
            let add = format!("CLUSTER ADDSLOTSRANGE {slots}");
            eventually("a node has its slots", PATIENCE, async || {
                node.try_ask::<()>(&add).await.map_err(|error| error.to_string())
            })
            .await;
            node.ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", cluster.nodes[0].1)).await;
        }
        for (_, port) in &cluster.nodes {
            let node = Redis::at(&format!("127.0.0.1:{port}"));
            eventually("the cluster is whole", PATIENCE, async || {
                let told: String = node.ask("CLUSTER INFO").await;
                let whole = ["cluster_state:ok", "cluster_known_nodes:3", "cluster_size:3"];
                if whole.iter().all(|word| told.contains(word)) { Ok(()) } else { Err(told) }
            })
            .await;
        }
        cluster
    }

    /// `host:port`, separated by commas.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// How many keys of each node begin so.
    pub async fn keys(&self, prefix: &str) -> Vec<usize> {
        let mut keys = Vec::new();
        for (_, port) in &self.nodes {
            keys.push(Redis::at(&format!("127.0.0.1:{port}")).keys(prefix).await.len());
        }
        keys
    }
}

/// A Redis of a test's own that is reached by TLS alone, at `localhost`.
#[derive(Debug)]
pub struct RedisOverTls {
    child: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl RedisOverTls {
    /// Starts it, with a certificate by an authority that nobody knows.
    pub async fn start() -> Self {
        const MADE: [&str; 3] = [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout ca.key -out ca.crt",
            "req -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout redis.key -out redis.csr",
            "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out redis.crt",
        ];
        let folder = std::env::temp_dir().join(format!("eos-redis-tls-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        for words in MADE {
            let made = Command::new("openssl").args(words.split(' ')).current_dir(&folder).output();
            let made = made.expect("openssl can be run");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args("--port 0 --bind 127.0.0.1 --tls-auth-clients no --tls-cert-file redis.crt".split(' '));
        command.args(["--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.crt", "--tls-port"]);
        command.arg(port.to_string()).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server can be run");
        let server = RedisOverTls { child, port, folder };
        eventually("it takes connections", PATIENCE, async || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        })
        .await;
        server
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> std::path::PathBuf {
        self.folder.join("ca.crt")
    }
}

impl Drop for RedisOverTls {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A node's bus has its port and 10,000.
fn cluster_port() -> u16 {
    loop {
        let port = free_port();
        if port < 55_000 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for (child, _) in &mut self.nodes {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
