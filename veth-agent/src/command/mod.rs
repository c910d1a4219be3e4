//! One file a subcommand: it wires steps together and holds no logic.

mod apply;
mod detach;
mod escape;
mod list;
mod run;

use crate::{
    cli::{Cli, Command},
    config::DEFAULT_MAX_ENDS,
    datapath::{DatapathError, Maps, Pins},
};

/// How a command ended, when not well.
#[derive(Debug)]
pub enum Failure {
    /// Bad usage or invalid input; nothing was touched. Exit 2.
    Invalid(Vec<String>),
    /// Failed while doing it. Exit 1.
    Failed(Vec<String>),
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Invalid(_) => 2,
            Self::Failed(_) => 1,
        }
    }

    /// One line a mistake.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Invalid(lines) | Self::Failed(lines) => lines,
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
        Command::Run(args) => run::run(&pins, &args),
        Command::Detach(args) => detach::detach(&pins, &args),
        Command::Completions { shell } => {
            use clap::CommandFactory as _;
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "veth-agent",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man => {
            use clap::CommandFactory as _;
            clap_mangen::Man::new(Cli::command())
                .render(&mut std::io::stdout())
                .map_err(Failure::failed)
        }
    }
}

/// Opens the pinned maps for a command that finds rather than makes them.
fn existing_maps(pins: &Pins) -> Result<Maps, DatapathError> {
    Maps::open(pins, DEFAULT_MAX_ENDS)
}
