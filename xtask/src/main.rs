//! Development tasks of veth-agent: `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod process;
mod setup;
mod toolchain;
mod workspace;

/// Development tasks of veth-agent.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, saying what and why.
    Setup(setup::Args),
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Setup(args) => setup::main(&args),
    }
}
