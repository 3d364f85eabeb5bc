//! A snapshot held open, as by a long report or a backup: dead rows stay, and what is updated often grows slow.
//!
//! The rate is taken second by second: before the snapshot is taken, and in the last seconds of the minute that it
//! is held. The hand-written loop has no row that it updates, so what it loses is the machine's.

use std::time::Duration;

use anyhow::ensure;
use sqlx::{ConnectOptions as _, Connection as _};

use super::{EOS, HANDWRITTEN, Orders, RECORD, Topic, case, fresh_tables};
use crate::driver::{Case, Measured};
use crate::report::Report;
use crate::stats::Spread;

const BEFORE: &str = "record_before_snapshot";
const HELD: &str = "record_held_snapshot";

/// The first seconds are left out.
const WARM_UP: i64 = 2;
/// When the snapshot is taken.
const TAKEN_AT: i64 = 12;
/// How long it is held.
const HELD_FOR: i64 = 60;
/// Which part of that is looked at.
const LAST: i64 = 10;

/// Measures both implementations and adds what was found.
pub(super) async fn measure(orders: &mut Orders<'_>, report: &mut Report) -> anyhow::Result<()> {
    // Enough for the fastest of them.
    let per_s = report.results.iter().map(|measured| measured.per_s.max).fold(10_000.0, f64::max);
    let records = (per_s * 1.2) as u64 * (TAKEN_AT + HELD_FOR).cast_unsigned() / 4 * 4;
    for who in [HANDWRITTEN, EOS] {
        let (before, held) = one(orders, who, records).await?;
        report.results.extend([before, held]);
    }
    Ok(())
}

/// Adds the ratios: each implementation to itself before.
pub(super) fn compare(report: &mut Report) {
    for (name, who) in
        [("held_snapshot_vs_before", EOS), ("held_snapshot_vs_before_handwritten", HANDWRITTEN)]
    {
        report.compare(name, &case(who, HELD, 4), &case(who, BEFORE, 4), None);
    }
}

async fn one(
    orders: &mut Orders<'_>,
    who: &'static str,
    records: u64,
) -> anyhow::Result<(Measured, Measured)> {
    let topic = orders.topic(Topic { partitions: 4, records }).await?;
    fresh_tables(&mut orders.database).await?;
    let url = orders.database.url(None);
    let child = orders.start(&case(who, RECORD, 4), &topic, None, &url, records)?;
    first_row(orders).await?;
    seconds(TAKEN_AT).await;

    eprintln!("{who}: a snapshot is held for {HELD_FOR} s");
    let mut holder = orders.database.options.connect().await?;
    let mut snapshot = holder.begin_with("begin isolation level repeatable read").await?;
    sqlx::query("select count(*) from orders").execute(&mut *snapshot).await?;
    seconds(HELD_FOR).await;
    let used = child.stop().await?;
    snapshot.rollback().await?;
    holder.close().await?;

    let by_second = by_second(orders).await?;
    let end = TAKEN_AT + HELD_FOR;
    ensure!(
        by_second.len() as i64 >= end - 1,
        "{who} was through its {records} records before the minute was over"
    );
    let measured = |variant, from: i64, to: i64| {
        let per_s = Spread::of(by_second[from as usize..to as usize].iter().map(|rows| *rows as f64));
        let cpu_us = used.cpu.as_secs_f64() * 1e6 / by_second.iter().sum::<i64>() as f64;
        Measured {
            case: Case { variant, ..case(who, RECORD, 4) },
            per_s,
            rss_mb: used.rss_mb,
            cpu_us,
            latency_ms: None,
            rounds: Vec::new(),
        }
    };
    // The last second may not be a whole one.
    Ok((measured(BEFORE, WARM_UP, TAKEN_AT), measured(HELD, end - 1 - LAST, end - 1)))
}

async fn seconds(seconds: i64) {
    tokio::time::sleep(Duration::from_secs(seconds.cast_unsigned())).await;
}

async fn first_row(orders: &mut Orders<'_>) -> anyhow::Result<()> {
    for _ in 0..300 {
        let any: bool = sqlx::query_scalar("select exists(select from orders)")
            .fetch_one(&mut orders.database.connection)
            .await?;
        if any {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no order was written within 30 s")
}

/// Orders in each second since the first; a second without any counts as none.
async fn by_second(orders: &mut Orders<'_>) -> anyhow::Result<Vec<i64>> {
    let counts = sqlx::query_scalar(
        "with began as (select min(applied_at) as at from orders), \
         rows as (select floor(extract(epoch from applied_at - began.at))::int as second, count(*) as n \
                  from orders, began group by 1) \
         select coalesce(n, 0) from generate_series(0, (select max(second) from rows)) second \
         left join rows using (second) order by second",
    );
    Ok(counts.fetch_all(&mut orders.database.connection).await?)
}
