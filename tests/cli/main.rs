//! What the commands say and how they end, whatever they are given.

mod bad_input;
mod unprivileged;
mod usage;

use anyhow::{Result, ensure};
use veth_tests::Output;

/// The one line that an error is.
fn one_line(output: &Output) -> Result<&str> {
    let said = output.stderr.strip_suffix('\n').unwrap_or(&output.stderr);
    let line = said.strip_prefix("veth-agent: ");
    let line = line.filter(|line| !line.is_empty() && !line.contains(char::is_control));
    ensure!(line.is_some(), "not one line of ours: {:?}", output.stderr);
    civil(output)?;
    Ok(line.unwrap_or_default())
}

/// No panic and no backtrace reaches a user.
fn civil(output: &Output) -> Result<()> {
    for word in ["panicked", "backtrace", "RUST_", "unwrap"] {
        let heard = output.stderr.contains(word) || output.stdout.contains(word);
        ensure!(!heard, "{word:?} in {output:?}");
    }
    ensure!(output.code != 101 && output.code < 128, "{output:?}");
    Ok(())
}
