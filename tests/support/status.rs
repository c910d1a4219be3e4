//! What `veth-agent status` says.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent;

/// A program of the agent's on one hook of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusHook {
    /// Name of the namespace.
    pub netns: String,
    /// The number of the namespace that is never used again.
    pub cookie: u64,
    /// The interface.
    pub interface: String,
    /// `ingress` or `egress`.
    pub hook: &'static str,
    /// `tcx` or `clsact`.
    pub method: String,
    /// Priority of a filter.
    pub priority: Option<u64>,
    /// Place among all that run there, from 1.
    pub position: u64,
    /// How many these are.
    pub of: u64,
    /// Its id in the kernel.
    pub program: u64,
}

/// The document of `veth-agent status -o json`.
///
/// # Errors
/// When it fails, or prints something else.
pub fn status_document(arguments: &str) -> Result<Value> {
    let output = agent(&format!("status -o json {arguments}"))?;
    ensure!(output.code == 0, "status: exit {}: {}", output.code, output.stderr);
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Every hook that has a program of the agent's.
///
/// # Errors
/// As [`status_document`].
pub fn status_hooks() -> Result<Vec<StatusHook>> {
    let document = status_document("")?;
    let ends = document["ends"].as_array().context("no ends")?;
    let hooks = ends.iter().flat_map(|end| ["ingress", "egress"].map(|hook| (end, hook)));
    let taken = hooks.filter(|(end, hook)| !end["hooks"][hook].is_null());
    taken.map(|(end, hook)| read(end, hook).context("a hook without its figures")).collect()
}

fn read(end: &Value, name: &'static str) -> Option<StatusHook> {
    let hook = &end["hooks"][name];
    Some(StatusHook {
        netns: end["netns"]["name"].as_str()?.to_owned(),
        cookie: end["netns"]["cookie"].as_u64()?,
        interface: end["interface"].as_str()?.to_owned(),
        hook: name,
        method: hook["method"].as_str()?.to_owned(),
        priority: hook["priority"].as_u64(),
        position: hook["position"].as_u64()?,
        of: hook["of"].as_u64()?,
        program: hook["program"].as_u64()?,
    })
}
