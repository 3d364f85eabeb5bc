//! Mail about each invoice. No transaction reaches a mail server, so it is sent **at least once**: a process that dies
//! between the sending and the offset's commit sends it again. Whoever cannot bear that gives the mail the record's id,
//! and lets the receiver drop what it knows.

use std::path::PathBuf;

use eos_runtime::prelude::*;
use tokio::io::AsyncWriteExt;

use crate::events::InvoiceCreated;

/// Where mail goes: a folder, with a file for each customer.
#[derive(Debug, Clone)]
struct Mailer {
    folder: PathBuf,
}

#[kafka_listener(group = "${app.topic_prefix:}mail")]
async fn on_invoice(invoice: InvoiceCreated, State(mailer): State<Mailer>) -> HandlerResult {
    let InvoiceCreated { order_id, customer, amount_cents } = invoice;
    let name: String = customer.chars().filter(|c| c.is_alphanumeric()).collect();
    let file = mailer.folder.join(format!("{name}.txt"));
    let mut file = tokio::fs::OpenOptions::new().append(true).create(true).open(file).await?;
    let text = format!(
        "Dear {customer}, order {order_id} costs {}.{:02}.\n",
        amount_cents / 100,
        amount_cents % 100
    );
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    Ok(())
}

/// Runs until it is told to stop.
pub(crate) async fn run(folder: PathBuf) -> anyhow::Result<()> {
    tokio::fs::create_dir_all(&folder).await?;
    Ok(eos_runtime::app().listeners(["*mail::*"]).state(Mailer { folder }).run().await?)
}
