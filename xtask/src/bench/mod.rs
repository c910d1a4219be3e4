//! `cargo xtask bench`: the speeds and sizes that the project promises, measured.

use anyhow::Result;
use clap::Subcommand;

use self::rounds::Rounds;

mod apply;
mod daemon;
mod datapath;
mod drops;
mod machine;
mod pair;
mod private;
mod report;
mod rounds;
mod stats;
mod trace;

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Building pairs, attaching to ends, scraping, and what the daemon costs (as root).
    Apply(apply::Args),
    /// Packets: latency, throughput, rates and what they cost, by every way (as root).
    Datapath(datapath::Args),
    /// What it costs to count drops, where packets are dropped and where none are (as root).
    Drops(Rounds),
    /// What it costs to trace packets, and how many of them are shown (as root).
    Trace(Rounds),
}

/// Measures.
pub fn main(args: &Args) -> Result<()> {
    match &args.bench {
        Bench::Apply(args) => apply::main(args),
        Bench::Datapath(args) => datapath::main(args),
        Bench::Drops(args) => drops::main(args),
        Bench::Trace(args) => trace::main(args),
    }
}
