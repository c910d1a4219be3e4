//! How large packets may be at an end: pure.

use veth_common::config::Limits;

use crate::{
    inventory::{LinkKind, Snapshot},
    types::EndId,
};

/// The largest packets that get on from an end, in bytes without the Ethernet header.
///
/// What leaves it must fit its peer: a pair drops what does not (`__dev_forward_skb`, `net/core/dev.c`).
/// What arrives at the port of a bridge must fit the narrowest of the bridge and its other ports: a bridge
/// drops what does not (`br_dev_queue_push_xmit`, `net/bridge/br_forward.c`). A router tells the sender
/// instead, so there is no limit to what it receives.
#[must_use]
pub fn limits(snapshot: &Snapshot, end: EndId) -> Limits {
    let peer = snapshot.peer_of(end).and_then(|peer| snapshot.link(peer));
    Limits { rx: behind(snapshot, end).unwrap_or(0), tx: peer.map_or(0, |peer| peer.mtu) }
}

/// The least MTU of the bridge that an end is a port of, and of its other ports.
fn behind(snapshot: &Snapshot, end: EndId) -> Option<u32> {
    let netns = snapshot.namespaces.get(&end.netns)?;
    let master = netns.links.get(&end.ifindex)?.master?;
    let bridge = netns.links.get(&master).filter(|master| master.kind == LinkKind::Bridge)?;
    let others = netns.links.values().filter(|link| link.master == Some(master));
    let others = others.filter(|link| link.index != end.ifindex);
    others.map(|link| link.mtu).chain([bridge.mtu]).min()
}
