//! The three processes together, for a first look: with an in-process broker and a SQLite file where the environment names
//! no servers, and with those where it does.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::Context;
use eos_runtime::embedded::EmbeddedBroker;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

const TOPICS: [&str; 2] = ["event.order", "event.invoice"];

/// Starts the three, says how to talk to them, and ends them with Ctrl-C.
pub(crate) async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("eos-orders-").tempdir()?;
    let named = std::env::var_os("EOS_KAFKA_BOOTSTRAP_SERVERS").is_some();
    let broker = if named { None } else { Some(embedded()?) };
    let database = format!("sqlite://{}/orders.db?mode=rwc", folder.path().display());
    let mail = folder.path().join("mail");
    let start = |process: &str| -> anyhow::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([process, "--listen", &listen.to_string(), "--mail"])
            .arg(&mail)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(broker) = &broker {
            command
                .env("EOS_KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers())
                .env("EOS_DATABASE_URL", &database)
                .env("RUST_LOG", "warn")
                // The in-process broker takes a member for dead before its group has begun otherwise.
                .env("EOS__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "3500")
                .env("EOS__KAFKA__PROPERTIES__HEARTBEAT_INTERVAL_MS", "100");
        }
        command.spawn().with_context(|| format!("`{process}` cannot be started"))
    };
    let mut processes = vec![start("api")?, start("invoices")?, start("mail")?];
    say(&format!(
        "Orders, invoices and mail run, each in a process of its own{}.\n\n  \
         curl -i http://{listen}/orders -H 'content-type: application/json' -H 'idempotency-key: 1' \\\n    \
         -d '{{\"customer\": \"Ada\", \"amount_cents\": 990}}'      # again and again: it stays one order\n  \
         curl http://{listen}/orders/<order_id>               # \"invoices\": 1, a moment later\n  \
         cat {}/*.txt                  # mail, at least once\n\n\
         Kill one of them and start the command again, or stop with Ctrl-C.",
        if broker.is_some() { ", with an in-process broker and a SQLite file" } else { "" },
        mail.display(),
    ));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped?,
        _ = terminate.recv() => {}
        status = processes[0].wait() => anyhow::bail!("the API has ended: {}", status?),
    }
    for process in &mut processes {
        // They have heard a Ctrl-C that came from the terminal; whoever has not is ended with this.
        drop(tokio::time::timeout(std::time::Duration::from_secs(5), process.wait()).await);
    }
    Ok(())
}

fn embedded() -> anyhow::Result<EmbeddedBroker> {
    anyhow::ensure!(
        !cfg!(feature = "postgres"),
        "built for PostgreSQL; name servers by EOS_KAFKA_BOOTSTRAP_SERVERS and EOS_DATABASE_URL, or build without it"
    );
    let broker = EmbeddedBroker::start()?;
    TOPICS.iter().try_for_each(|topic| broker.create_topic(topic, 4))?;
    Ok(broker)
}

#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn say(text: &str) {
    println!("{text}");
}
