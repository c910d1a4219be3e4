//! Development tasks of veth-agent: `cargo xtask --help`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod agent;
mod bench;
mod demo;
mod docs;
mod fuzz;
mod process;
mod scrape;
mod setup;
mod test;
mod toolchain;
mod verifier;
mod vm;
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
    /// Show the main job for real, and check every figure against the kernel's (as root).
    Demo(demo::Args),
    /// Measure the speeds and sizes that the project promises (as root).
    Bench(bench::Args),
    /// Run the integration tests on other kernels, in virtual machines.
    Vm(vm::Args),
    /// Write the pages of the documentation that are made from the code.
    Docs,
    /// Feed the decoder and the printers of `trace` with frames that nobody would think of.
    Fuzz(fuzz::Args),
    /// Load every program on each kernel, and compare what the verifier says with the table.
    Verifier(verifier::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    match task {
        Task::Setup(args) => setup::main(args),
        Task::Test(args) => test::main(args),
        Task::Demo(args) => demo::main(args),
        Task::Bench(args) => bench::main(args),
        Task::Docs => docs::main(),
        Task::Fuzz(args) => fuzz::main(args),
        Task::Vm(args) => vm::main(args),
        Task::Verifier(args) => verifier::main(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
