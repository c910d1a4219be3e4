//! `cargo xtask setup`: installs what is missing and says what and why.

use anyhow::Result;
use clap::ValueEnum;

mod apt;
mod compiler;
mod fuzzer;
mod libpcap;
mod linker;
mod tools;

use apt::Apt;

/// What to set up.
#[derive(clap::Args)]
pub struct Args {
    /// Only these groups; all of them when none is named.
    #[arg(value_enum)]
    groups: Vec<Group>,
}

/// Tools that are needed for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// The compiler and the linker of the eBPF objects.
    Build,
    /// What `cargo xtask demo` runs.
    Demo,
    /// What `cargo xtask bench` runs.
    Bench,
    /// What `cargo xtask fuzz` runs.
    Fuzz,
    /// What `cargo xtask test` runs.
    Test,
    /// What `cargo xtask vm` runs.
    Vm,
}

/// Sets up the groups of `args`.
pub fn main(args: &Args) -> Result<()> {
    let groups = if args.groups.is_empty() { Group::value_variants() } else { &args.groups };
    install(groups)?;
    say("everything needed is there");
    Ok(())
}

/// Installs what the groups lack. Silent, and quick, when nothing is missing.
pub fn install(groups: &[Group]) -> Result<()> {
    let apt = Apt::find();
    for group in groups {
        match group {
            Group::Build => {
                let toolchain = compiler::install(apt.as_ref())?;
                linker::install(toolchain, apt.as_ref())?;
                libpcap::install(apt.as_ref())?;
            }
            Group::Demo => tools::install(tools::DEMO, apt.as_ref())?,
            Group::Bench => tools::install(tools::BENCH, apt.as_ref())?,
            Group::Fuzz => fuzzer::install(apt.as_ref())?,
            Group::Vm => tools::install(tools::VM, apt.as_ref())?,
            Group::Test => {
                compiler::install_lints()?;
                tools::install(tools::TEST, apt.as_ref())?;
            }
        }
    }
    Ok(())
}

/// Tells the user what happens, on standard error.
fn say(text: &str) {
    eprintln!("setup: {text}");
}
