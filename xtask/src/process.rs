//! Running other programs, with errors that show the command.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// A command that could be pasted into a shell, near enough for people to read; programs by their name alone.
pub fn display(command: &Command) -> String {
    let program = command.get_program();
    let program = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(program).chain(command.get_args());
    words.map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs a command that shares our output; fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", display(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", display(command));
    }
    Ok(())
}

/// Runs a command and returns its standard output; the error of one that fails ends with what it
/// said on standard error.
pub fn read(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", display(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}{}", display(command), output.status, said(&output));
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", display(command)))
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, through sudo where that is needed.
pub fn as_root(program: &str) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if crate::toolchain::find_command("sudo").is_none() {
        bail!("{program} needs root, and there is no sudo: run this as root");
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let mut command = Command::new("/bin/echo");
        command.args(["plain", "two words", "it's", ""]);
        assert_eq!(display(&command), r"echo plain 'two words' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_shows_the_command_and_what_it_said() {
        let result = read(Command::new("sh").args(["-c", "echo why >&2; exit 3"]));
        let text = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("sh -c") && text.contains("3") && text.ends_with("why"), "{text}");
    }
}
