//! A TCP proxy that can lose what passes through it, on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy does with the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loses {
    Nothing,
    /// The client's message reaches the server; its answer does not come back, and the connection breaks.
    Answers,
    /// The client's message is lost, and the connection breaks.
    Messages,
}

/// Listens on a port of its own; ends with the runtime of its test.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) port: u16,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    pub(super) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let mode = Arc::new(AtomicU8::new(Loses::Nothing as u8));
        let shared = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, Arc::clone(&shared)));
            }
        });
        Proxy { port, mode }
    }

    pub(super) fn now(&self, loses: Loses) {
        self.mode.store(loses as u8, Ordering::SeqCst);
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mode: Arc<AtomicU8>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let loses = |what: Loses| mode.load(Ordering::SeqCst) == what as u8;
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(n) if n > 0 && !loses(Loses::Messages) => {
                    if server.write_all(&up[..n]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(n) if n > 0 && !loses(Loses::Answers) => {
                    if client.write_all(&down[..n]).await.is_err() { return }
                }
                _ => return,
            },
        }
    }
}
