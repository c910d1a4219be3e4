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

/// The target that the compiler compiles for when it is not told.
pub fn host() -> Result<String> {
    let version = process::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Builds the agent as it is shipped and returns the path of its binary.
pub fn build_agent() -> Result<PathBuf> {
    let line = "build --release --package veth-agent --bin veth-agent";
    build(line)?.pop().map(|built| built.path).context("cargo named no veth-agent binary")
}

/// Builds a binary for this workspace's own use.
pub fn build_bin(package: &str, name: &str) -> Result<PathBuf> {
    let built = build(&format!("build --package {package} --bin {name}"))?.pop();
    built.map(|built| built.path).with_context(|| format!("cargo named no binary {name}"))
}

/// Builds the integration tests: name and binary of each suite.
pub fn build_tests() -> Result<Vec<(String, PathBuf)>> {
    let built = build("test --no-run --package veth-tests --tests")?;
    let tests = built.into_iter().filter(|built| built.is_test);
    Ok(tests.map(|built| (built.name, built.path)).collect())
}

/// A binary that cargo has built.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    name: String,
    path: PathBuf,
    is_test: bool,
}

/// Runs cargo with the words of `line` and returns the binaries that it announces.
fn build(line: &str) -> Result<Vec<Built>> {
    let mut command = cargo();
    command.args(line.split_whitespace());
    command.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let messages = process::read(&mut command)?;
    Ok(messages.lines().filter_map(executable).collect())
}

/// The binary that a line of cargo's JSON announces.
fn executable(line: &str) -> Option<Built> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(Built {
        path: message.get("executable")?.as_str().map(PathBuf::from)?,
        name: message["target"]["name"].as_str()?.to_owned(),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_a_binary_count() {
        let binary = r#"{"reason":"compiler-artifact","target":{"name":"cli"},
                         "profile":{"test":true},"executable":"/t/cli-1"}"#;
        let built = Built { name: "cli".to_owned(), path: "/t/cli-1".into(), is_test: true };
        assert_eq!(executable(binary), Some(built));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("not json"), None);
    }
}
