//! The limit: pgbench sends the same statements from C, with nothing to read from Kafka and nothing to parse.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;

use crate::child::{Running, Used};

/// The statements of the hand-written loop.
const SCRIPT: &str = "\
\\set customer random(0, 99999)
\\set amount random(100, 90099)
begin;
insert into inbox (message_id) values (gen_random_uuid()::text) on conflict do nothing;
insert into orders (order_id, customer, amount_cents) values (gen_random_uuid(), 'customer-' || :customer, :amount);
commit;
";

/// PostgreSQL's own benchmark program, wherever it was installed.
#[derive(Debug)]
pub(crate) struct Pgbench(PathBuf);

impl Pgbench {
    /// Looks along the PATH, and where Debian's packages put it.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
            })
            .collect();
        versions.sort();
        std::env::split_paths(&path)
            .chain(versions.into_iter().rev().map(|(_, bin)| bin))
            .map(|folder| folder.join("pgbench"))
            .find(|file| file.is_file())
            .map(Pgbench)
            .context(
                "`pgbench` is not installed; it comes with PostgreSQL's server packages (Debian: `postgresql`, others: \
                 `postgresql-contrib`). Put it on the PATH, or leave it out with `--only eos,handwritten`",
            )
    }

    /// Runs `transactions` by each of `clients`; what it used.
    pub(crate) async fn run(
        &self,
        database: &PgConnectOptions,
        clients: u32,
        transactions: u64,
    ) -> anyhow::Result<Used> {
        let (script, mut writer) = std::io::pipe()?;
        // Short enough for the pipe's buffer.
        writer.write_all(SCRIPT.as_bytes())?;
        drop(writer);
        let mut command = Command::new(&self.0);
        command
            .args(["-n", "-M", "prepared", "-f", "-"])
            .args(["-c", &clients.to_string(), "-j", &threads(clients).to_string()])
            .args(["-t", &transactions.to_string()])
            .args(["-h", database.get_host(), "-p", &database.get_port().to_string()])
            .args(["-U", database.get_username(), database.get_database().unwrap_or("postgres")]);
        if let Some(password) = database.to_url_lossy().password() {
            command.env("PGPASSWORD", password);
        }
        let running = Running::start("pgbench", &mut command, Stdio::from(script))?;
        let (status, said, used) = running.ended().await?;
        if !status.success() {
            bail!("pgbench ended with {status}:\n{said}");
        }
        Ok(used)
    }
}

/// A thread for each core, as long as there is a client for it.
fn threads(clients: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    clients.min(cores)
}
