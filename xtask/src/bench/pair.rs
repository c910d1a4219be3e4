//! One pair between two namespaces.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::datapath::arms::Sites;
use crate::{agent::Agent, process};

/// Namespace of the client, and its end.
pub const RED: &str = "red";
pub const RED_END: &str = "r1";

/// Namespace of the server, and its end.
pub const BLUE: &str = "blue";
pub const BLUE_END: &str = "b1";

/// The server's address.
pub const BLUE_ADDRESS: &str = "10.0.0.3";

/// What it is called.
pub const NAME: &str = "cable";

/// Builds it, and has its packets counted.
pub fn build(agent: &Agent, folder: &Path) -> Result<()> {
    let topology = format!(
        "
namespaces: [{{ name: {RED} }}, {{ name: {BLUE} }}]
pairs:
  - name: {NAME}
    ends:
      - {{ namespace: {RED}, interface: {RED_END}, addresses: [10.0.0.2/24] }}
      - {{ namespace: {BLUE}, interface: {BLUE_END}, addresses: [{BLUE_ADDRESS}/24] }}
"
    );
    let file = folder.join("pair.yaml");
    fs::write(&file, topology).with_context(|| format!("{}", file.display()))?;
    agent.with_file(&["apply"], &file).map(drop)
}

/// Between which namespaces it is.
pub fn sites() -> Sites {
    Sites { client: RED.to_owned(), server: BLUE.to_owned(), address: BLUE_ADDRESS.to_owned() }
}

/// What `ip` shows of a link in a namespace, with what it has counted.
pub fn link(netns: &str, name: &str) -> Result<Value> {
    let mut show = Command::new("ip");
    let shown = process::read(show.args(["-n", netns, "-s", "-j", "link", "show", "dev", name]))?;
    let mut links: Value = serde_json::from_str(&shown).context("ip -j link show")?;
    Ok(links[0].take())
}

/// A command in a namespace.
pub fn within(netns: &str, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg(program);
    command
}
