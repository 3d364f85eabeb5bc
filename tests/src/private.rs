//! A server of a test's own, which it may stop, kill and start again.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::servers::services;

/// A private PostgreSQL, Kafka or Redis; ended and thrown away with the test.
#[derive(Debug)]
pub struct Private {
    name: &'static str,
    folder: PathBuf,
    port: u16,
    pid: u32,
}

impl Private {
    /// Starts `kafka`, `postgres` or `redis`.
    pub async fn start(name: &'static str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("eos-private-{name}-{}", uuid::Uuid::new_v4().simple()));
        let mut server = Private { name, folder, port: free_port(), pid: 0 };
        server.start_again().await;
        server
    }

    /// Starts it with its data, after it was stopped or killed.
    pub async fn start_again(&mut self) {
        let (name, folder, port) =
            (self.name, self.folder.to_string_lossy().into_owned(), self.port.to_string());
        let pid = tokio::task::spawn_blocking(move || services(&["private", name, &folder, &port])).await;
        self.pid = pid.expect("no panic").trim().parse().expect("a pid");
    }

    /// Ends it politely; its data stay.
    pub async fn stop(&self) {
        let folder = self.folder.to_string_lossy().into_owned();
        tokio::task::spawn_blocking(move || services(&["stop-private", &folder])).await.expect("no panic");
    }

    /// SIGKILL: what it has not written to its files is gone.
    pub fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// SIGSTOP: it takes connections, and answers nothing.
    pub fn sleep(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn wake(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid.cast_signed()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let folder = self.folder.to_string_lossy().into_owned();
        // A second panic would hide the first.
        drop(std::panic::catch_unwind(|| services(&["stop-private", &folder])));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A port that is free, and the next one too, which Kafka takes for its controller. Not one of those that the system gives to
/// whoever connects to somewhere (32,768 and above on Linux, where also a Redis cluster's second port, 10,000 further on, must
/// not be): it would be taken before the server is there, or is there again.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const PAIRS: u128 = 1_350;
    /// What this process has given out is not given out again: a server may be down for a while.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let pair = uuid::Uuid::new_v4().as_u128() % PAIRS;
        let port = FIRST + 2 * u16::try_from(pair).expect("few");
        let is_new = GIVEN.lock().expect("no panic in here").insert(port);
        if is_new && [port, port + 1].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}
