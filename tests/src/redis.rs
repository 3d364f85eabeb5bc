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

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
