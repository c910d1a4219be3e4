//! The places of this clone.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// cargo, as it was called, in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the agent as it is shipped and returns the path of its binary.
pub fn build_agent() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package", "veth-agent", "--bin", "veth-agent"]);
    build.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let messages = process::read(&mut build)?;
    messages.lines().filter_map(executable).next_back().context("cargo named no veth-agent binary")
}

/// The binary that a line of cargo's JSON announces.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_a_binary_count() {
        let binary = r#"{"reason":"compiler-artifact","executable":"/t/release/veth-agent"}"#;
        assert_eq!(executable(binary), Some(PathBuf::from("/t/release/veth-agent")));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("not json"), None);
    }
}
