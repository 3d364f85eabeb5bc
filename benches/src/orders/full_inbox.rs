//! The inbox as it is after a week: does a record cost more when millions of ids are in it already?
//!
//! The ids lie in the same index as those of the run: same group, same topic, ids of the same kind. So eos gets its
//! records on one topic that grows, under one group, with the position kept, as a service does that goes on for weeks.

use anyhow::Context as _;
use sqlx::AssertSqlSafe;

use super::{EOS, HANDWRITTEN, Orders, RECORD, case, rate};
use crate::bed::Database;
use crate::driver::{Case, Sample};
use crate::report::Report;
use crate::{handwritten, producer};

/// What such a case is called.
pub(super) const VARIANT: &str = "record_full_inbox";

/// One filled inbox for each implementation, made at the first use.
#[derive(Default)]
pub(super) struct FullInboxes(Vec<FullInbox>);

struct FullInbox {
    who: &'static str,
    database: Database,
    topic: String,
    group: String,
}

/// Adds the ratios: each implementation to itself with an empty inbox.
pub(super) fn compare(report: &mut Report) {
    for (name, who, to_reach) in [
        ("record_4_full_inbox_vs_empty", EOS, Some(0.9)),
        ("record_4_full_inbox_vs_empty_handwritten", HANDWRITTEN, None),
    ] {
        report.compare(name, &case(who, VARIANT, 4), &case(who, RECORD, 4), to_reach);
    }
}

pub(super) async fn sample(orders: &mut Orders<'_>, case: &Case) -> anyhow::Result<Sample> {
    let at = orders.full_inboxes.0.iter().position(|inbox| inbox.who == case.who);
    let mut inbox = match at {
        Some(at) => orders.full_inboxes.0.swap_remove(at),
        None => FullInbox::fill(orders, case).await?,
    };
    let sample = inbox.run(orders, case).await;
    orders.full_inboxes.0.push(inbox);
    sample
}

impl FullInbox {
    async fn fill(orders: &mut Orders<'_>, case: &Case) -> anyhow::Result<Self> {
        let what = format!("full_inbox_{}", case.who);
        let mut database = orders.bed.database(&what).await?;
        database.execute(super::ORDERS).await?;
        database.execute(handwritten::TABLES).await?;
        let topic = orders.bed.topic(&what, case.in_flight.cast_signed()).await?;
        let mut inbox = FullInbox { who: case.who, database, topic, group: orders.bed.unique(&what) };
        // So that eos makes its tables and its number for the group and the topic.
        inbox.run(orders, case).await?;

        let rows = orders.args.inbox_rows;
        eprintln!("filling the inbox of {} with {rows} ids", case.who);
        let (table, insert) = if case.who == EOS {
            (
                "eos_inbox",
                "insert into eos_inbox (stream, message_id) \
                 select s.id, convert_to(gen_random_uuid()::text, 'UTF8') from eos_stream s, generate_series(1, $1)",
            )
        } else {
            (
                "inbox",
                "insert into inbox (message_id) select gen_random_uuid()::text from generate_series(1, $1)",
            )
        };
        inbox.fill_without_its_key(table, insert, rows.cast_signed()).await?;
        Ok(inbox)
    }

    /// A key that is made afterwards is made by one sort.
    async fn fill_without_its_key(
        &mut self,
        table: &str,
        insert: &'static str,
        rows: i64,
    ) -> anyhow::Result<()> {
        let (name, definition): (String, String) = sqlx::query_as(
            "select conname::text, pg_get_constraintdef(oid) from pg_constraint \
             where conrelid = to_regclass($1) and contype = 'p'",
        )
        .bind(table)
        .fetch_optional(&mut self.database.connection)
        .await?
        .with_context(|| format!("the table `{table}` has no primary key"))?;
        self.database.execute(format!("alter table {table} drop constraint {name}")).await?;
        sqlx::query(AssertSqlSafe(insert)).bind(rows).execute(&mut self.database.connection).await?;
        self.database.execute("set maintenance_work_mem = '512MB'").await?;
        self.database.execute(format!("alter table {table} add constraint {name} {definition}")).await?;
        self.database.execute(format!("vacuum (analyze) {table}")).await
    }

    async fn run(&mut self, orders: &mut Orders<'_>, case: &Case) -> anyhow::Result<Sample> {
        let records = orders.args.records_of(case);
        producer::orders(&orders.bed.kafka, &self.topic, case.in_flight.cast_signed(), records).await?;
        self.database.execute("truncate orders").await?;
        let url = self.database.url(None);
        let mut child = orders.start(case, &self.topic, Some(&self.group), &url, records)?;
        child.done().await?;
        let used = child.stop().await?;
        Ok(Sample::new(rate(&mut self.database, records).await?, used, records))
    }
}
