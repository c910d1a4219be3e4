//! What redirecting would skip: pure, from facts to words.

use std::fmt;

use super::facts::{EndFacts, Facts};
use crate::{
    firewall::{Chain, Hook},
    inventory::Link,
    types::Datapath,
};

/// Something that a redirected packet would not meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle(pub String);

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Queueing disciplines that neither hold a packet back nor drop one that there is room for.
const HARMLESS: [&str; 8] =
    ["noqueue", "pfifo_fast", "pfifo", "bfifo", "fq_codel", "fq", "mq", "pfifo_head_drop"];

/// All that stands in the way of a near end's packets, in the namespace that `facts` are of.
/// `bridge` is the bridge that the end is a port of.
#[must_use]
pub fn obstacles(
    facts: &Facts,
    datapath: Datapath,
    near: &Link,
    far: &Link,
    bridge: Option<&Link>,
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let end = facts.ends.get(&near.index);
    found.extend(end.into_iter().flat_map(|end| at_end(&near.name, end)));
    if datapath == Datapath::Xdp {
        // XDP comes ahead of all of TC.
        let ahead = end.into_iter().flat_map(|end| &end.ahead_on_ingress);
        found.extend(ahead.map(|what| format!("{what} ahead of ours on {} ingress", near.name)));
    } else {
        // By TC, packets arrive behind it.
        found.extend(far.xdp.map(|id| format!("XDP program {id} on the far end {}", far.name)));
    }
    let on_path = |chain: &&Chain| chain.is_on_path(&near.name, bridge.is_some(), facts);
    found.extend(facts.chains.iter().filter(on_path).map(Chain::describe));
    let through_ip = bridge.is_none() || facts.bridge_calls_ip;
    let legacy = facts.legacy.iter().filter(|legacy| match legacy.tool {
        "ebtables" => bridge.is_some(),
        _ => through_ip,
    });
    found.extend(
        legacy.map(|legacy| format!("{} table {}: {}", legacy.tool, legacy.table, legacy.rule)),
    );
    match bridge {
        Some(bridge) => found.extend(on_bridge(near, bridge)),
        None => found.extend(on_route(facts)),
    }
    found.extend(facts.unread.iter().cloned());
    found.into_iter().map(Obstacle).collect()
}

fn at_end<'a>(name: &'a str, end: &'a EndFacts) -> impl Iterator<Item = String> + use<'a> {
    let holds_back = |qdisc: &&String| !HARMLESS.contains(&qdisc.as_str());
    let qdisc = end.qdisc.iter().filter(holds_back);
    let qdisc = qdisc.map(move |kind| format!("qdisc {kind} on {name}"));
    let behind = end.behind_on_ingress.iter();
    let behind = behind.map(move |what| format!("{what} behind ours on {name} ingress"));
    let beside = end.beside_on_egress.iter();
    qdisc.chain(behind).chain(beside.map(move |what| format!("{what} on {name} egress")))
}

impl Chain {
    fn is_on_path(&self, device: &str, bridged: bool, facts: &Facts) -> bool {
        if self.rules == 0 && !self.drops {
            return false;
        }
        let forwarding = matches!(self.hook, Hook::Prerouting | Hook::Forward | Hook::Postrouting);
        match self.family {
            "netdev" => self.devices.iter().any(|name| name == device),
            "bridge" => bridged && forwarding,
            // Its ingress is that of a device, as in `netdev`.
            "inet" if self.hook == Hook::Ingress => self.devices.iter().any(|name| name == device),
            "ip" | "ip6" | "inet" => forwarding && (!bridged || facts.bridge_calls_ip),
            _ => false,
        }
    }

    fn describe(&self) -> String {
        let Self { family, table, name, .. } = self;
        let what = match self.first_rule {
            Some(handle) => format!("rule handle {handle}"),
            None if self.drops => "policy drop".to_owned(),
            None => format!("{} rules", self.rules),
        };
        format!("nft {family} {table} {name}: {what}")
    }
}

fn on_bridge(near: &Link, bridge: &Link) -> impl Iterator<Item = String> {
    let port = near.port;
    let closed = port.filter(|port| !port.forwarding());
    let closed = closed.map(|_| format!("bridge port {} does not forward", near.name));
    let isolated = port.filter(|port| port.isolated);
    let isolated = isolated.map(|_| format!("bridge port {} is isolated", near.name));
    let vlans = bridge.vlan_filtering.then(|| format!("bridge {} filters VLANs", bridge.name));
    closed.into_iter().chain(isolated).chain(vlans)
}

fn on_route(facts: &Facts) -> impl Iterator<Item = String> {
    let rules = facts.rules.iter().map(|rule| format!("ip rule {rule}"));
    let xfrm = (facts.xfrm_policies > 0).then(|| "an XFRM policy (`ip xfrm policy`)".to_owned());
    rules.chain(xfrm)
}
