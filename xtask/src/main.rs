//! Development tasks of veth-agent: `cargo xtask --help`.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod process;
mod setup;
mod test;
mod toolchain;
mod verifier;
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
    /// Run every test of the project (as root, or through sudo).
    Test(test::Args),
    /// Load every program of every object on this kernel and print what the verifier counted.
    Verifier,
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Setup(args) => setup::main(&args),
        Task::Test(args) => test::main(&args),
        Task::Verifier => verifier::main(),
    }
}
