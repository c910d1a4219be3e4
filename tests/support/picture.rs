//! All that there is on a node, to say that something was or was not touched.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::run;

/// What the kernel changes by itself, some time after the cause: timers and carriers.
const RESTLESS: [&str; 13] = [
    "gc_timer",
    "hello_timer",
    "tcn_timer",
    "topology_change_timer",
    "forward_delay_timer",
    "hold_timer",
    "message_age_timer",
    "tentative",
    "operstate",
    "state",
    "qdisc",
    "tso_max_segs",
    "tso_max_size",
];

/// Likewise, among flags.
const RESTLESS_FLAGS: [&str; 4] = ["NO-CARRIER", "LOWER_UP", "linkdown", "dead"];

/// Links, addresses, routes and qdiscs of all named namespaces, the names themselves, and pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, String>);

impl Picture {
    /// Takes it. Of unnamed namespaces nothing is seen.
    ///
    /// # Errors
    /// When the node cannot be looked at.
    pub fn take() -> Result<Self> {
        let mut things = BTreeMap::new();
        look_around("host", "", &mut things)?;
        for name in names_in(Path::new("/run/netns"))? {
            look_around(&name, &format!("-n {name} "), &mut things)?;
        }
        pins(Path::new("/sys/fs/bpf"), &mut things)?;
        Ok(Self(things))
    }

    /// Compares it with the node as it is now.
    ///
    /// # Errors
    /// What differs.
    pub fn still_holds(&self) -> Result<()> {
        let differences = self.differences(&Self::take()?);
        ensure!(differences.is_empty(), "the node has changed:\n{}", differences.join("\n"));
        Ok(())
    }

    fn differences(&self, later: &Self) -> Vec<String> {
        let gone = self.0.iter().filter(|(key, value)| later.0.get(*key) != Some(*value));
        let new = later.0.iter().filter(|(key, value)| self.0.get(*key) != Some(*value));
        let line = |sign: char| move |(key, value)| format!("{sign} {key}: {value}");
        gone.map(line('-')).chain(new.map(line('+'))).collect()
    }
}

fn look_around(netns: &str, scope: &str, things: &mut BTreeMap<String, String>) -> Result<()> {
    things.insert(format!("{netns}: namespace"), String::new());
    for link in objects(&format!("ip {scope}-d -j addr show"))? {
        let index = link["ifindex"].as_u64().context("a link without index")?;
        things.insert(format!("{netns}: link {index}"), link.to_string());
    }
    let lists = ["ip -4 -j route show table all", "ip -6 -j route show table all", "tc -j qdisc"];
    for list in lists {
        let (program, rest) = list.split_once(' ').context("a command")?;
        for (nth, thing) in objects(&format!("{program} {scope}{rest}"))?.iter().enumerate() {
            things.insert(format!("{netns}: {list} {nth}"), thing.to_string());
        }
    }
    Ok(())
}

fn objects(line: &str) -> Result<Vec<Value>> {
    let text = run(line)?.stdout;
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut all: Value = serde_json::from_str(&text).with_context(|| format!("{line}: {text}"))?;
    calm(&mut all);
    serde_json::from_value(all).with_context(|| format!("{line}: not a list"))
}

fn calm(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !RESTLESS.contains(&key.as_str()));
            fields.values_mut().for_each(calm);
        }
        Value::Array(values) => {
            values.retain(|value| !comes_by_itself(value));
            values.iter_mut().for_each(calm);
        }
        _ => {}
    }
}

/// A flag that follows the carrier, a route that follows an address, or what IPv6 makes of the MAC.
fn comes_by_itself(value: &Value) -> bool {
    let of_ipv6 = |key: &str| {
        let text = value[key].as_str().unwrap_or_default();
        text.starts_with("fe80:") || text.starts_with("ff00:")
    };
    value.as_str().is_some_and(|flag| RESTLESS_FLAGS.contains(&flag))
        || value["table"] == "local"
        || of_ipv6("local")
        || of_ipv6("dst")
}

fn pins(directory: &Path, things: &mut BTreeMap<String, String>) -> Result<()> {
    for name in names_in(directory)? {
        let path = directory.join(name);
        things.insert(format!("pin {}", path.display()), String::new());
        if path.is_dir() {
            pins(&path, things)?;
        }
    }
    Ok(())
}

fn names_in(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
