//! One file a subcommand: it wires steps together and holds no logic.

mod apply;
mod detach;
mod doctor;
mod drops_view;
mod fast_path_view;
mod list;
mod netns_view;
mod run;
mod status;
mod table;
mod trace;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Write as _},
};

use rustix::thread::{CapabilitySet, capabilities};

pub(crate) use crate::escape::escape;
use crate::{
    cli::{Cli, Command},
    config::DEFAULT_MAX_ENDS,
    datapath::{self, DatapathError, EndHooks, Maps, Pins},
    inventory::Snapshot,
    types::EndId,
};

/// How a command ended, when not well.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or invalid input; nothing was touched. Exit 2.
    Invalid(Vec<String>),
    /// Failed while doing it. Exit 1.
    Failed(Vec<String>),
    /// `doctor` found a problem, and has said so. Exit 3.
    Found,
    /// `trace --strict` lost packets, and has said so. Exit 4.
    Lost,
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Invalid(_) => 2,
            Self::Failed(_) => 1,
            Self::Found => 3,
            Self::Lost => 4,
        }
    }

    /// One line a mistake.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Invalid(lines) | Self::Failed(lines) => lines,
            Self::Found | Self::Lost => &[],
        }
    }

    pub(crate) fn failed(error: impl ToString) -> Self {
        Self::Failed(vec![error.to_string()])
    }
}

/// Does what the command line says.
///
/// # Errors
/// Why it could not be done.
pub fn execute(cli: Cli) -> Result<(), Failure> {
    let pins = Pins::at(&cli.global.bpffs);
    match cli.command {
        Command::Apply(args) => apply::apply(&pins, &args),
        Command::Delete(args) => apply::delete(&pins, &args),
        Command::List(args) => list::list(&pins, args.output),
        Command::Status(args) => status::status(&pins, &args),
        Command::Trace(args) => trace::trace(&pins, &args),
        Command::Doctor(args) => doctor::doctor(&pins, &args),
        Command::Run(args) => run::run(&pins, &args),
        Command::Detach(args) => detach::detach(&pins, &args),
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "veth-agent", &mut script);
            print(&script)
        }
        Command::Man => {
            use clap::CommandFactory as _;
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::failed)?;
            print(&page)
        }
    }
}

/// Says a line on stderr. That nobody listens any more is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "veth-agent: {line}");
}

/// Prints a result. A reader that has seen enough, such as `head`, is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::failed(format!("standard output: {error}"))),
    }
}

/// What is attached; where that cannot be seen, says so, and nothing is.
fn seen_hooks(pins: &Pins, snapshot: &Snapshot) -> BTreeMap<EndId, EndHooks> {
    datapath::hooks(pins, snapshot).unwrap_or_else(|error| {
        say(&format!("what is attached cannot be seen: {error}; run it as root"));
        BTreeMap::new()
    })
}

fn say_unseen(snapshot: &Snapshot) {
    if let Some(first) = snapshot.unseen.first() {
        let reason = escape(&first.reason);
        say(&match snapshot.unseen.len() {
            1 => format!("one namespace could not be seen: {reason}; run it as root"),
            more => {
                format!("{more} namespaces could not be seen, the first: {reason}; run it as root")
            }
        });
    }
}

/// Refuses before anything is touched where the kernel would do so half-way.
fn privileged(command: &str) -> Result<(), Failure> {
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
    let held = capabilities(None).map_err(Failure::failed)?.effective;
    if held.contains(needed) {
        return Ok(());
    }
    Err(Failure::failed(format!("{command} needs CAP_NET_ADMIN and CAP_SYS_ADMIN; run it as root")))
}

/// Opens the pinned maps for a command that finds rather than makes them.
fn existing_maps(pins: &Pins) -> Result<Maps, DatapathError> {
    Maps::open(pins, DEFAULT_MAX_ENDS)
}
