//! Benchmarks of eos beside what one would write by hand, and beside what the machine can do.
//!
//! `orders`, `noop`, `redis`, `relay` and `k2k` are what is measured. Every implementation runs as a child process
//! of this same program; see `driver.rs` for the rounds and `report.rs` for what comes out.

mod bed;
mod child;
mod connect;
mod driver;
mod eos;
mod handwritten;
mod k2k;
mod noop;
mod orders;
mod pgbench;
mod producer;
mod proxy;
mod redis;
mod relay;
mod report;
mod stats;
mod watch;

use clap::{Parser, Subcommand};

use bed::Bed;
use report::Report;

#[derive(Debug, Parser)]
#[command(about = "Measures eos on the test services, beside a hand-written loop and the machine's limit")]
struct Arguments {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// One transaction a record: one inbox row and one order row
    Orders(orders::Args),
    /// A listener that does nothing
    Noop(noop::Args),
    /// Events on their way from the outbox to Kafka: how fast, how late, and what they cost
    Relay(relay::Args),
    /// A listener that dedupes in Redis
    Redis(redis::Args),
    /// From Kafka to Kafka, exactly once
    K2k(k2k::Args),
    /// What the benchmark starts
    #[command(hide = true, subcommand)]
    Child(Child),
}

#[derive(Debug, Subcommand)]
enum Child {
    Eos(eos::ChildArgs),
    Handwritten(orders::ChildArgs),
    Raw(noop::RawArgs),
    RedisByHand(redis::ChildArgs),
    Relay,
    RelayByHand(relay::by_hand::ChildArgs),
    Writers(relay::commits::ChildArgs),
    K2kByHand(k2k::by_hand::ChildArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().workload {
        Workload::Child(Child::Eos(args)) => eos::run(&args).await,
        Workload::Child(Child::Handwritten(args)) => handwritten::run(&args).await,
        Workload::Child(Child::Raw(args)) => noop::raw(args).await,
        Workload::Child(Child::RedisByHand(args)) => redis::by_hand(args).await,
        Workload::Child(Child::Relay) => Ok(eos_runtime::relay().run().await?),
        Workload::Child(Child::RelayByHand(args)) => relay::by_hand::run(&args).await,
        Workload::Child(Child::Writers(args)) => relay::commits::run(&args).await,
        Workload::Child(Child::K2kByHand(args)) => k2k::by_hand::run(args).await,
        Workload::Orders(args) => measure(args.json, async |bed| orders::run(&args, bed).await).await,
        Workload::Noop(args) => measure(args.json, async |bed| noop::run(&args, bed).await).await,
        Workload::Redis(args) => measure(args.json, async |bed| redis::run(&args, bed).await).await,
        Workload::Relay(args) => measure(args.json, async |bed| relay::run(&args, bed).await).await,
        Workload::K2k(args) => measure(args.json, async |bed| k2k::run(&args, bed).await).await,
    }
}

async fn measure(
    json: bool,
    workload: impl AsyncFnOnce(&mut Bed) -> anyhow::Result<Report>,
) -> anyhow::Result<()> {
    let mut bed = Bed::open().await?;
    let outcome = tokio::select! {
        outcome = workload(&mut bed) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    bed.close().await;
    outcome?.print(json)
}
