//! The veth-agent binary: a thin shell around the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::fmt;
use veth_agent::{
    cli::{Cli, Global, LogFormat},
    command,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(&cli.global);
    match command::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                eprintln!("veth-agent: {line}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn log_to_stderr(options: &Global) {
    use std::io::IsTerminal as _;

    let colour = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = fmt().with_max_level(options.log_level).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(colour).with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
}
