//! Commands, as one would type them.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{commander, patient};

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status; 128 and the signal's number where one ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What else it said.
    pub stderr: String,
}

/// Runs a command line, split at spaces; it must succeed.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(line: &str) -> Result<Output> {
    let output = try_run(line)?;
    ensure!(output.code == 0, "{line}: exit {}: {}{}", output.code, output.stdout, output.stderr);
    Ok(output)
}

/// Runs a command line, split at spaces.
///
/// # Errors
/// When it cannot be started.
pub fn try_run(line: &str) -> Result<Output> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    let mut command = Command::new(program);
    command.args(words);
    collect(command)
}

/// Runs a shell script, which stops at its first error, and with exit 124 after two minutes, or
/// as many as [`patient`] makes of them: one that waits for what never comes ends, too.
///
/// # Errors
/// When it cannot be started.
pub fn shell(script: &str) -> Result<Output> {
    let mut command = Command::new("timeout");
    let limit = patient(Duration::from_secs(120)).as_secs().to_string();
    command.args(["--kill-after=5", &limit, "sh", "-ec", script]);
    collect(command)
}

pub(crate) fn collect(mut command: Command) -> Result<Output> {
    use std::os::unix::process::ExitStatusExt as _;

    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let described = format!("{command:?}");
    let child = commander::spawn(command).with_context(|| described.clone())?;
    let output = child.wait_with_output().with_context(|| described)?;
    let signal = output.status.signal().map(|signal| 128 + signal);
    Ok(Output {
        code: output.status.code().or(signal).unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
