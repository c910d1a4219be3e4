//! What `veth-agent doctor` says, and whether what it advises helps.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Node, agent, shell};

/// Addresses are checked for duplicates, carriers come, neighbours are found.
const SOON: Duration = Duration::from_secs(20);

/// A finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which check.
    pub check: String,
    /// `error` or `warning`.
    pub severity: String,
    /// `NETNS/INTERFACE`.
    pub at: String,
    /// The pair.
    pub pair: Option<String>,
    /// In words.
    pub what: String,
    /// Facts, each with its source.
    pub evidence: Vec<String>,
    /// For a shell.
    pub mend: Option<String>,
}

/// What `doctor` finds, asked with these arguments.
///
/// # Errors
/// When it does not end as its document says.
pub fn doctor(arguments: &str) -> Result<Vec<Finding>> {
    let output = agent(&format!("doctor -o json {arguments}"))?;
    let document: Value = serde_json::from_str(&output.stdout)
        .with_context(|| format!("{}{}", output.stdout, output.stderr))?;
    ensure!(document["schema_version"] == 1 && output.stderr.is_empty(), "{output:?}");
    ensure!(document["unread"].as_array().is_some_and(Vec::is_empty), "{}", output.stdout);
    let findings = document["findings"].as_array().context("no findings")?;
    let findings: Vec<_> =
        findings.iter().map(read).collect::<Option<_>>().context("incomplete")?;
    ensure!(output.code == if findings.is_empty() { 0 } else { 3 }, "{output:?}");
    Ok(findings)
}

fn read(finding: &Value) -> Option<Finding> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let evidence = finding["evidence"].as_array()?.iter();
    let evidence =
        evidence.map(|it| Some(format!("{} [{}]", it["fact"].as_str()?, it["source"].as_str()?)));
    Some(Finding {
        check: text(&finding["check"])?,
        severity: text(&finding["severity"])?,
        at: format!(
            "{}/{}",
            finding["netns"]["name"].as_str().unwrap_or("-"),
            finding["interface"].as_str().unwrap_or("-")
        ),
        pair: text(&finding["pair"]),
        what: text(&finding["what"])?,
        evidence: evidence.collect::<Option<_>>()?,
        mend: text(&finding["mend"]),
    })
}

/// `doctor` finds nothing, if not at once, then soon.
///
/// # Errors
/// When it goes on finding something.
pub fn healthy(node: &Node) -> Result<()> {
    let mut found = Vec::new();
    let healed = node.eventually("health", SOON, || {
        found = doctor("")?;
        Ok(found.is_empty().then_some(()))
    });
    healed.with_context(|| format!("{found:#?}"))
}

/// `doctor` finds this and nothing else; what it advises is done, and then it finds nothing.
///
/// # Errors
/// When anything is otherwise.
pub fn cured(node: &Node, check: &str, at: &str) -> Result<Finding> {
    let mut found = Vec::new();
    let alone = node.eventually(&format!("{check} at {at}"), SOON, || {
        found = doctor("")?;
        let [only] = found.as_slice() else { return Ok(None) };
        Ok((only.check == check && only.at == at).then(|| only.clone()))
    });
    let finding = alone.with_context(|| format!("{found:#?}"))?;
    ensure!(!finding.evidence.is_empty(), "without evidence: {finding:?}");
    mend(node, &finding)?;
    healthy(node)?;
    Ok(finding)
}

/// Does what a finding advises. `FILE` is the topology that the test applied.
///
/// # Errors
/// When a command fails.
pub fn mend(node: &Node, finding: &Finding) -> Result<()> {
    let command = finding.mend.clone().context("no mend")?;
    let binary = crate::agent_path().display().to_string();
    let file = node.scratch().join("topology.yaml").display().to_string();
    let command = command.replace("veth-agent ", &format!("{binary} ")).replace("FILE", &file);
    let output = shell(&command)?;
    ensure!(output.code == 0, "{command}: {output:?}");
    Ok(())
}
