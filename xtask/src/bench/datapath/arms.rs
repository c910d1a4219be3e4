//! The ways that packets take, all there at once, each in a subnet of its own.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{agent::Agent, bench::pair, process, scrape};

/// How two pods are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Two ends of one pair.
    Direct,
    /// Two pairs on a Linux bridge.
    Bridged,
    /// Two pairs with the host as their router.
    Routed,
}

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// What the report calls it.
    pub name: &'static str,
    shape: Shape,
    /// `None`: nothing is attached.
    datapath: Option<&'static str>,
}

const fn arm(name: &'static str, shape: Shape, datapath: Option<&'static str>) -> Arm {
    Arm { name, shape, datapath }
}

/// All of them; `control` is a second copy of `direct`.
pub const ARMS: [Arm; 9] = [
    arm("direct", Shape::Direct, None),
    arm("control", Shape::Direct, None),
    arm("observe", Shape::Direct, Some("observe")),
    arm("bridge", Shape::Bridged, None),
    arm("bridge_nf", Shape::Bridged, None),
    arm("routed", Shape::Routed, None),
    arm("tc", Shape::Bridged, Some("tc")),
    arm("tc_routed", Shape::Routed, Some("tc")),
    arm("xdp", Shape::Bridged, Some("xdp")),
];

/// The place of an arm in [`ARMS`].
pub fn place(name: &str) -> Result<usize> {
    ARMS.iter().position(|arm| arm.name == name).with_context(|| format!("no arm {name}"))
}

/// Where the traffic of an arm begins and ends.
#[derive(Clone, Debug)]
pub struct Sites {
    /// Namespace of the client.
    pub client: String,
    /// Namespace of the server.
    pub server: String,
    /// The server's address.
    pub address: String,
}

impl Sites {
    /// Those of an arm, by its place.
    pub fn of(place: usize) -> Self {
        Self {
            client: format!("r{place}"),
            server: format!("b{place}"),
            address: format!("10.{place}.0.3"),
        }
    }
}

/// The topology file of all arms.
fn topology() -> String {
    let mut namespaces = String::from("namespaces:\n");
    let mut bridges = String::from("bridges:\n");
    let mut pairs = String::from("pairs:\n");
    for (n, arm) in ARMS.iter().enumerate() {
        let datapath = arm.datapath.unwrap_or("observe");
        let _ = writeln!(namespaces, "  - name: r{n}\n  - name: b{n}");
        if arm.shape == Shape::Bridged {
            let _ = writeln!(bridges, "  - name: br{n}");
        }
        for (pod, last) in [("r", 2), ("b", 3)] {
            let address = format!("10.{n}.0.{last}");
            let near = match arm.shape {
                // The whole pair, once.
                Shape::Direct if pod == "r" => {
                    format!("{{ namespace: b{n}, interface: e0, addresses: [10.{n}.0.3/24] }}")
                }
                Shape::Direct => continue,
                Shape::Bridged => format!("{{ interface: {pod}{n}, bridge: br{n} }}"),
                Shape::Routed => format!(
                    "{{ interface: {pod}{n}, addresses: [169.254.1.1/32], routes: [{{ to: {address}/32 }}] }}"
                ),
            };
            let far = match arm.shape {
                Shape::Routed => format!(
                    "addresses: [{address}/32], routes: [{{ to: 169.254.1.1/32 }}, {{ to: default, via: 169.254.1.1 }}]"
                ),
                _ => format!("addresses: [{address}/24]"),
            };
            let _ = writeln!(
                pairs,
                "  - name: {pod}{n}\n    datapath: {datapath}\n    ends:\n      - {near}\n      \
                 - {{ namespace: {pod}{n}, interface: e0, {far} }}"
            );
        }
    }
    namespaces + &bridges + &pairs
}

/// How long the fast path may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds all arms, brings up the fast path of those that have one, and takes the programs off those
/// that have none. No daemon runs afterwards, so that its work disturbs no arm; the lease outlasts the
/// session.
pub fn build(agent: &Agent, folder: &Path) -> Result<()> {
    // A bridge at its best, but for one: without the chains of IP, where there is such a switch.
    for name in ["iptables", "ip6tables", "arptables"] {
        let _ = fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), "0");
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("ip_forward")?;
    let file = folder.join("datapath.yaml");
    fs::write(&file, topology()).with_context(|| format!("{}", file.display()))?;
    agent.with_file(&["apply"], &file)?;
    let nf = format!("br{}", place("bridge_nf")?);
    let mut through_chains = Command::new("ip");
    through_chains.args(["link", "set", "dev", &nf, "type", "bridge"]);
    process::read(through_chains.args(["nf_call_iptables", "1", "nf_call_ip6tables", "1"]))?;
    let daemon = agent.start(&["--lease", "12h"], folder, || Ok(()))?;
    let fast = ARMS.iter().filter(|arm| matches!(arm.datapath, Some("tc" | "xdp"))).count();
    let started = Instant::now();
    loop {
        let samples = scrape::samples(&daemon.client().get("/metrics")?)?;
        let entries = samples.iter().find(|sample| {
            sample.name == "veth_agent_map_entries" && sample.label("map") == "va_endpoints"
        });
        // Two addresses each; IPv6 has none that is not link-local.
        if entries.is_some_and(|sample| sample.value >= 2.0 * fast as f64) {
            break;
        }
        if started.elapsed() > PATIENCE {
            bail!("the fast path does not come up; the daemon's log:\n{}", daemon.log());
        }
        thread::sleep(Duration::from_millis(100));
    }
    daemon.stop()?;
    for (n, arm) in ARMS.iter().enumerate().filter(|(_, arm)| arm.datapath.is_none()) {
        agent.call(&["detach", &format!("r{n}")])?;
        if arm.shape != Shape::Direct {
            agent.call(&["detach", &format!("b{n}")])?;
        }
    }
    check_hooks(agent)
}

/// Each arm has the programs that it should have, and no others.
fn check_hooks(agent: &Agent) -> Result<()> {
    let list: Value = serde_json::from_str(&agent.call(&["list", "-o", "json"])?)?;
    for pair in list["pairs"].as_array().context("no pairs")? {
        let name = pair["name"].as_str().unwrap_or_default();
        let arm = ARMS[name[1..].parse::<usize>().with_context(|| format!("pair {name}"))?];
        for end in pair["ends"].as_array().context("no ends")? {
            let is_near = end["netns"]["name"] == "host";
            let hooks = &end["hooks"];
            let counts = !hooks["ingress"].is_null() && !hooks["egress"].is_null();
            let by_xdp = !hooks["xdp"].is_null();
            if counts != arm.datapath.is_some()
                || by_xdp != (is_near && arm.datapath == Some("xdp"))
            {
                bail!("arm {}: {} has hooks {hooks}", arm.name, end["interface"]);
            }
        }
    }
    Ok(())
}

/// After the traffic: what was redirected by arms that should, and counted by `observe`, against the
/// kernel's own counters. Starts the daemon once more to read it.
pub fn audit(agent: &Agent, folder: &Path) -> Result<Counted> {
    let daemon = agent.start(&[], folder, || Ok(()))?;
    let samples = scrape::samples(&daemon.client().get("/metrics")?)?;
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let chosen = samples.iter().filter(|sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == *value)
        });
        chosen.map(|sample| sample.value).sum()
    };
    for (n, arm) in ARMS.iter().enumerate() {
        let Some(method) = arm.datapath.filter(|datapath| *datapath != "observe") else { continue };
        for near in [format!("r{n}"), format!("b{n}")] {
            let labels = [("interface", near.as_str()), ("method", method)];
            let redirected = sum("veth_agent_redirects_total", &labels);
            let received = sum(
                "veth_agent_packets_total",
                &[("netns", "host"), ("interface", near.as_str()), ("direction", "rx")],
            );
            if redirected < 0.99 * received || redirected < 1000.0 {
                bail!("arm {}: {redirected} of {received} packets were redirected", arm.name);
            }
        }
    }
    let n = place("observe")?;
    let mut counted = Counted::default();
    for netns in [format!("r{n}"), format!("b{n}")] {
        for direction in ["rx", "tx"] {
            let labels = [("netns", netns.as_str()), ("direction", direction)];
            counted.ours += sum("veth_agent_packets_total", &labels);
            counted.kernels += device_packets(&netns, direction)?;
        }
    }
    daemon.stop()?;
    Ok(counted)
}

/// Packets of the arm `observe`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// By the agent.
    pub ours: f64,
    /// By the devices.
    pub kernels: f64,
}

fn device_packets(netns: &str, direction: &str) -> Result<f64> {
    pair::link(netns, "e0")?["stats64"][direction]["packets"].as_f64().context("no packets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_has_its_namespaces_and_pairs() {
        let topology = topology();
        let direct = ARMS.iter().filter(|arm| arm.shape == Shape::Direct).count();
        assert_eq!(topology.matches("    datapath: ").count(), 2 * ARMS.len() - direct);
        assert_eq!(topology.matches("datapath: tc").count(), 4);
        assert_eq!(topology.matches("datapath: xdp").count(), 2);
        assert_eq!(topology.matches("interface: e0").count(), 2 * ARMS.len());
        let names: std::collections::BTreeSet<_> = ARMS.iter().map(|arm| arm.name).collect();
        assert_eq!(names.len(), ARMS.len());
    }
}
