//! A longer way to the database: every byte arrives half a round trip later, in both directions.
//!
//! One thread serves all connections, so that the proxy costs little on a small machine, and sleeps in `ppoll`, whose
//! timeout is exact to the microsecond (tokio's timers have steps of a millisecond). What arrives while something
//! waits gets a due time of its own: delay does not become less throughput.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A delaying proxy; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    round_trips: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of this machine and passes everything on to `upstream`.
    pub(crate) fn start(upstream: SocketAddr, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = Server {
            listener,
            upstream,
            delay: round_trip / 2,
            shared: Arc::clone(&shared),
            pairs: Vec::new(),
            buffer: vec![0; 64 * 1024],
        };
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || server.run())?;
        Ok(Proxy { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often a client has spoken after the server's last word, since the last call.
    pub(crate) fn take_round_trips(&self) -> u64 {
        self.shared.round_trips.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread; one that is gone needs no waking.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; there is nothing to add.
            drop(thread.join());
        }
    }
}

struct Server {
    listener: TcpListener,
    upstream: SocketAddr,
    delay: Duration,
    shared: Arc<Shared>,
    pairs: Vec<Pair>,
    buffer: Vec<u8>,
}

/// A client's connection and the one to the server that was opened for it.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    up: Lane,
    down: Lane,
    server_spoke_last: bool,
}

/// What is on its way in one direction.
#[derive(Default)]
struct Lane {
    chunks: VecDeque<Chunk>,
    /// The sender has closed its end.
    closed: bool,
    /// The receiver's buffers are full.
    blocked: bool,
}

struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
    sent: usize,
}

impl Server {
    fn run(mut self) {
        // A timer may fire up to the slack late, 50 µs unless it is set.
        if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
            eprintln!("round trips take a little longer than asked for: {error}");
        }
        while !self.shared.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.wait_and_serve() {
                eprintln!("the delaying proxy cannot go on: {error}");
                return;
            }
        }
    }

    fn wait_and_serve(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let due = self.pairs.iter().flat_map(|pair| [&pair.up, &pair.down]).filter_map(Lane::due).min();
        let timeout = due.map(|due| timespec(due.saturating_duration_since(now)));
        let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for pair in &self.pairs {
            watched.push(PollFd::new(&pair.client, interest(&pair.up, &pair.down)));
            watched.push(PollFd::new(&pair.server, interest(&pair.down, &pair.up)));
        }
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        drop(watched);

        for (pair, ready) in self.pairs.iter_mut().zip(ready[1..].chunks(2)) {
            pair.serve(ready[0], ready[1], self.delay, &mut self.buffer, &self.shared.round_trips);
        }
        self.pairs.retain(Pair::is_open);
        if ready[0].contains(PollFlags::IN) {
            self.accept()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let client = match self.listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        // A server that is not there is the client's to find out: its connection is closed.
        let Ok(server) = TcpStream::connect(self.upstream) else { return Ok(()) };
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
        }
        let (up, down) = (Lane::default(), Lane::default());
        self.pairs.push(Pair { client, server, up, down, server_spoke_last: true });
        Ok(())
    }
}

impl Pair {
    fn serve(
        &mut self,
        client: PollFlags,
        server: PollFlags,
        delay: Duration,
        buffer: &mut [u8],
        round_trips: &AtomicU64,
    ) {
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if client.intersects(readable)
            && self.up.read(&mut self.client, delay, buffer)
            && std::mem::take(&mut self.server_spoke_last)
        {
            round_trips.fetch_add(1, Ordering::Relaxed);
        }
        if server.intersects(readable) && self.down.read(&mut self.server, delay, buffer) {
            self.server_spoke_last = true;
        }
        let now = Instant::now();
        self.up.write(&mut self.server, now);
        self.down.write(&mut self.client, now);
    }

    /// Half-closed connections are of no use to a database's protocol: the first end is the end.
    fn is_open(&self) -> bool {
        let over = |lane: &Lane| lane.closed && lane.chunks.is_empty();
        let open = !over(&self.up) && !over(&self.down);
        if !open {
            for stream in [&self.client, &self.server] {
                // The other side may have closed it already.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
        open
    }
}

impl Lane {
    /// When the next chunk is to go out; none while the receiver takes nothing.
    fn due(&self) -> Option<Instant> {
        self.chunks.front().filter(|_| !self.blocked).map(|chunk| chunk.due)
    }

    /// Takes what has arrived; whether there was anything.
    fn read(&mut self, from: &mut TcpStream, delay: Duration, buffer: &mut [u8]) -> bool {
        match from.read(buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                let due = Instant::now() + delay;
                self.chunks.push_back(Chunk { due, bytes: buffer[..count].to_vec(), sent: 0 });
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.closed = true,
        }
        false
    }

    /// Sends what is due.
    fn write(&mut self, to: &mut TcpStream, now: Instant) {
        self.blocked = false;
        while let Some(chunk) = self.chunks.front_mut().filter(|chunk| chunk.due <= now) {
            match to.write(&chunk.bytes[chunk.sent..]) {
                Ok(count) => chunk.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(_) => {
                    self.closed = true;
                    self.chunks.clear();
                    return;
                }
            }
            if chunk.sent == chunk.bytes.len() {
                self.chunks.pop_front();
            }
        }
    }
}

/// What to wait for on a socket: bytes for `from_here`, room for `to_here`.
fn interest(from_here: &Lane, to_here: &Lane) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, !from_here.closed);
    flags.set(PollFlags::OUT, to_here.blocked);
    flags
}

#[expect(clippy::expect_used, reason = "a delay is below a second")]
fn timespec(duration: Duration) -> Timespec {
    Timespec::try_from(duration).expect("fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every byte with the same byte.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let address = listener.local_addr().expect("address");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..count]).expect("echo");
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_round_trip_takes_longer_and_is_counted() {
        let proxy = Proxy::start(echo(), Duration::from_millis(20)).expect("proxy");
        let mut client = TcpStream::connect(proxy.address()).expect("connect");
        let began = Instant::now();
        for _ in 0..5 {
            client.write_all(b"x").expect("write");
            client.read_exact(&mut [0]).expect("read");
        }
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        assert_eq!(proxy.take_round_trips(), 5);
    }

    #[test]
    fn what_is_sent_at_once_waits_once() {
        let proxy = Proxy::start(echo(), Duration::from_millis(200)).expect("proxy");
        let mut client = TcpStream::connect(proxy.address()).expect("connect");
        let began = Instant::now();
        let sent = vec![7; 1 << 20];
        let mut writer = client.try_clone().expect("clone");
        let all = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&all));
        let mut got = vec![0; sent.len()];
        client.read_exact(&mut got).expect("read");
        writing.join().expect("join").expect("write");
        assert_eq!(got, sent);
        assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    }
}
