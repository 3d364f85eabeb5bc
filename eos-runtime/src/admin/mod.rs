#![doc = include_str!("../../docs/admin.md")]
//
// | file | what it promises |
// |---|---|
// | `mod.rs` | the address is taken before anything starts; the server lives as long as there is something to look at |
// | `view.rs` | what can be seen; the application fills it in as it starts |
// | `health.rs` | `/livez` and `/readyz`: what is wrong, a sentence each |
// | `listeners.rs` | `/listeners`: what runs, by which settings, and how far it is |
// | `prometheus.rs` | `/metrics`: our recorder where the program has none |
// | `changes.rs` | what can be changed, by whoever has the token |

mod changes;
mod health;
mod listeners;
mod prometheus;
mod view;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use listeners::{ListenerSettings, RetrySettings};
pub(crate) use prometheus::{Page, Render};
pub(crate) use view::{DatabaseShown, ListenerShown, Running, View};

use crate::settings::Admin as Settings;

/// How long answers that are being written are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The address, taken: nobody else can have it any more.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

/// The server, until it is told to end; dropping it ends it without waiting.
#[derive(Debug)]
pub(crate) struct Admin {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// What the answers are made of.
pub(crate) struct Desk {
    view: Arc<View>,
    settings: Settings,
    page: Page,
}

impl Door {
    /// Takes the address.
    ///
    /// # Errors
    /// Why it cannot be had, in a sentence that names the setting.
    pub(crate) fn open(settings: &Settings) -> Result<Self, String> {
        let open = || {
            let listener = TcpListener::bind(settings.listen)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Door { listener, address })
        };
        open().map_err(|error: std::io::Error| {
            format!(
                "`[admin] listen`: `{}` cannot be listened on ({error}); if another process has it, choose another port, \
                 or end that process",
                settings.listen
            )
        })
    }

    /// Answers from now on.
    ///
    /// # Errors
    /// The runtime cannot wait for connections.
    pub(crate) fn serve(self, view: Arc<View>, settings: Settings, page: Page) -> std::io::Result<Admin> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let stop = CancellationToken::new();
        let may_change = settings.token.is_some();
        tracing::info!(address = %self.address, may_change, "the admin server listens");
        let desk = Arc::new(Desk { view, settings, page });
        let serving = axum::serve(listener, routes(Arc::clone(&desk)))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = serving => {}
                () = desk.page.keep() => {}
            }
        });
        Ok(Admin { stop, task: AbortOnDropHandle::new(task) })
    }
}

impl Admin {
    /// Takes no more questions, and ends with the answers that are being written.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // Whoever reads an answer so slowly does not hold up the process.
        drop(tokio::time::timeout(LAST_ANSWERS, self.task).await);
    }
}

/// What is answered where.
fn routes(desk: Arc<Desk>) -> Router {
    let paths = "/livez, /readyz, /metrics and /listeners; POST /dead-letters/{id}/replay and /dead-letters/{id}/discard, \
                 with /databases/{name} before them where there are several\n";
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(prometheus::metrics))
        .route("/listeners", get(listeners::listeners))
        .route("/dead-letters/{id}/{change}", post(changes::of_the_only_one))
        .route("/databases/{database}/dead-letters/{id}/{change}", post(changes::of_one))
        .fallback(move |State(_): State<Arc<Desk>>| async move { (StatusCode::NOT_FOUND, paths) })
        .with_state(desk)
}
