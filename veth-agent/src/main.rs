//! The veth-agent binary: a thin shell around the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt};
use veth_agent::{
    cli::{Cli, Global, LogFormat, usage_mistake},
    command::{self, Failure},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match usage_mistake(&error) {
            Some(mistake) => return fail(&Failure::Invalid(vec![mistake])),
            None => error.exit(),
        },
    };
    log_to_stderr(&cli.global);
    match command::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    failure.lines().iter().for_each(|line| command::say(line));
    ExitCode::from(failure.code())
}

fn log_to_stderr(options: &Global) {
    use std::io::IsTerminal as _;

    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A line that cannot be written is lost; complaining about it on stderr would panic.
    let log = fmt()
        .with_env_filter(filter(options.log_level))
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match options.log_format {
        LogFormat::Text => log.with_ansi(colour).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// What is logged. The netlink library dumps every message that it cannot read, byte by byte: any pod
/// could fill the log by giving an interface a name that is no text.
fn filter(level: LevelFilter) -> EnvFilter {
    let library = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    EnvFilter::new(format!("{level},netlink_proto={library}"))
}
