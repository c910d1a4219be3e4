//! What `veth-agent list` says.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent;

/// One end in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEnd {
    /// Name of its pair.
    pub pair: String,
    /// Name of its namespace, where it has one.
    pub netns: Option<String>,
    /// Inode of its namespace.
    pub inode: u64,
    /// Its interface.
    pub interface: String,
    /// How programs hang on ingress and egress.
    pub hooks: [Option<String>; 2],
}

impl ListedEnd {
    /// What metrics call its namespace.
    #[must_use]
    pub fn label(&self) -> String {
        self.netns.clone().unwrap_or_else(|| format!("net:[{}]", self.inode))
    }

    /// Whether both hooks have a program of the agent.
    #[must_use]
    pub fn attached(&self) -> bool {
        self.hooks.iter().all(Option::is_some)
    }
}

/// Every end of `veth-agent list -o json`.
///
/// # Errors
/// When it fails, or prints something else.
pub fn listed() -> Result<Vec<ListedEnd>> {
    let output = agent("list -o json")?;
    ensure!(output.code == 0, "list: exit {}: {}", output.code, output.stderr);
    let document: Value = serde_json::from_str(&output.stdout)?;
    let pairs = document["pairs"].as_array().context("no pairs")?;
    let ends = pairs.iter().flat_map(|pair| {
        let ends = pair["ends"].as_array().into_iter().flatten();
        ends.map(move |end| {
            let word = |value: &Value| value.as_str().map(str::to_owned);
            let hooks = &end["hooks"];
            Ok(ListedEnd {
                pair: word(&pair["name"]).context("a pair without a name")?,
                netns: word(&end["netns"]["name"]),
                inode: end["netns"]["inode"].as_u64().context("no inode")?,
                interface: word(&end["interface"]).context("no interface")?,
                hooks: [word(&hooks["ingress"]), word(&hooks["egress"])],
            })
        })
    });
    ends.collect()
}
