//! How large packets may be at an end: pure.

use std::collections::BTreeMap;

use veth_common::config::Limits;

use crate::{
    inventory::{Bridge, Link, Snapshot},
    types::EndId,
};

/// The largest packets that get on from each end, in bytes without the Ethernet header; 0 is no limit.
///
/// What leaves an end must fit its peer: a pair drops what does not (`__dev_forward_skb`, `net/core/dev.c`).
/// What arrives at the port of a bridge must fit the narrowest of the bridge and its other ports: a bridge
/// drops what does not (`br_dev_queue_push_xmit`, `net/bridge/br_forward.c`). A router tells the sender
/// instead, so there is no limit to what it receives.
#[must_use]
pub fn limits(snapshot: &Snapshot) -> BTreeMap<EndId, Limits> {
    let bridges = snapshot.bridges();
    let behind: BTreeMap<EndId, u32> = bridges.iter().flat_map(behind_ports).collect();
    let of_end = |end| {
        let peer = snapshot.peer_of(end).and_then(|peer| snapshot.link(peer));
        let rx = behind.get(&end).copied().unwrap_or(0);
        (end, Limits { rx, tx: peer.map_or(0, |peer| peer.mtu) })
    };
    snapshot.ends().map(of_end).collect()
}

/// For each port, the least MTU of its bridge and the other ports.
fn behind_ports(bridge: &Bridge<'_>) -> Vec<(EndId, u32)> {
    let mut narrowest: Vec<&Link> = bridge.ports().collect();
    narrowest.sort_by_key(|port| port.mtu);
    narrowest.truncate(2);
    let but = |port: &Link| {
        let other = narrowest.iter().find(|other| other.index != port.index);
        other.map_or(bridge.link.mtu, |other| other.mtu.min(bridge.link.mtu))
    };
    bridge.ends.iter().map(|port| (bridge.netns.end(port.index), but(port))).collect()
}
