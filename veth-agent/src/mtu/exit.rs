//! By what a host sends on what its containers send: the uplink of its default route, and tunnels.

use std::net::IpAddr;

use super::{Graph, Kind, Mismatch, takes};
use crate::{
    inventory::{LinkKind, Namespace, Route, Snapshot},
    types::{EndId, IfIndex},
};

/// A way out of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The link.
    pub ifindex: IfIndex,
    /// Bytes of the largest packet that goes that way.
    pub takes: u32,
}

/// The ways out of a namespace, the narrowest first: for packets to whatever is not near.
#[must_use]
pub fn exits(netns: &Namespace) -> Vec<Exit> {
    let mut exits: Vec<_> = netns.routes.iter().filter_map(|route| exit(netns, route)).collect();
    exits.sort_by_key(|exit| (exit.takes, exit.ifindex));
    exits
}

fn exit(netns: &Namespace, route: &Route) -> Option<Exit> {
    let link = netns.links.get(&route.dev)?;
    let whole = route.to.prefix_len() == route.to.max_prefix_len();
    let tunnel = link.tunnel.is_some() && !whole && !route.is_of_the_link();
    if !(route.is_default() || tunnel) || link.kind == LinkKind::Loopback {
        return None;
    }
    let takes = takes(netns, link);
    Some(Exit { ifindex: route.dev, takes: route.mtu.map_or(takes, |mtu| mtu.min(takes)) })
}

/// An end whose default route leads through a host that sends on less. The host tells the sender, unless
/// a firewall keeps that from it.
pub fn mismatch(graph: &Graph<'_>, end: EndId) -> Option<Mismatch> {
    let snapshot = graph.snapshot;
    let link = snapshot.link(end)?;
    let near = snapshot.peer_of(end).filter(|near| near.netns != end.netns)?;
    // Where it comes from is no way out.
    let exit = graph.exits(near.netns).iter().find(|exit| exit.ifindex != near.ifindex)?;
    let leaves = |route: &&&Route| route.is_default() && leads_to(snapshot, near, route.via);
    let sends = graph.over(end).iter().filter(leaves);
    let sends = sends.map(|route| route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu))).max()?;
    let limit = EndId { netns: near.netns, ifindex: exit.ifindex };
    let takes = exit.takes;
    let mismatch = Mismatch { limit, takes, kind: Kind::Uplink, end, sender: end, sends };
    (sends > takes).then_some(mismatch)
}

/// Whether the host of a near end is the gateway: always where packets are routed, and on a bridge where
/// the gateway's address is the bridge's.
fn leads_to(snapshot: &Snapshot, near: EndId, gateway: Option<IpAddr>) -> bool {
    let Some(host) = snapshot.namespaces.get(&near.netns) else { return false };
    let master = host.links.get(&near.ifindex).and_then(|near| host.links.get(&near.master?));
    match (master, gateway) {
        (None, _) => true,
        (Some(bridge), Some(gateway)) => {
            bridge.addresses.iter().any(|address| address.net.addr() == gateway)
        }
        (Some(_), None) => false,
    }
}
