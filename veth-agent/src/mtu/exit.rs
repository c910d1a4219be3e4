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
    /// Packets of IPv4 go that way, else of IPv6.
    pub ipv4: bool,
}

/// The ways out of a namespace, the narrowest first: for packets to whatever is not near. Of default routes,
/// those of the lowest metric are taken.
#[must_use]
pub fn exits(netns: &Namespace) -> Vec<Exit> {
    let mut exits: Vec<_> = netns.routes.iter().filter_map(|route| exit(netns, route)).collect();
    exits.sort_by_key(|exit| (exit.takes, exit.ifindex));
    exits
}

fn exit(netns: &Namespace, route: &Route) -> Option<Exit> {
    let link = netns.links.get(&route.dev)?;
    let whole = route.to.prefix_len() == route.to.max_prefix_len();
    let tunnel = link.tunnel.is_some() && !whole && !route.is_of_the_link() && !route.is_default();
    if !(is_way_out(netns, route) || tunnel) || link.kind == LinkKind::Loopback {
        return None;
    }
    let takes = takes(netns, link);
    let takes = route.mtu.map_or(takes, |mtu| mtu.min(takes));
    Some(Exit { ifindex: route.dev, takes, ipv4: route.to.addr().is_ipv4() })
}

/// Whether it is a default route, and no other of its family comes before it.
fn is_way_out(netns: &Namespace, route: &Route) -> bool {
    let same = netns.routes.iter().filter(|other| other.to == route.to);
    route.is_default() && same.map(|other| other.metric).min() == Some(route.metric)
}

/// An end whose default route leads through a host that sends on less. The host tells the sender, unless
/// a firewall keeps that from it.
pub fn mismatches(graph: &Graph<'_>, end: EndId) -> impl Iterator<Item = Mismatch> {
    [true, false].into_iter().filter_map(move |ipv4| mismatch(graph, end, ipv4))
}

/// The same of one family: an end that sends none of its packets that way is not limited by it.
fn mismatch(graph: &Graph<'_>, end: EndId, ipv4: bool) -> Option<Mismatch> {
    let snapshot = graph.snapshot;
    let link = snapshot.link(end)?;
    let near = snapshot.peer_of(end).filter(|near| near.netns != end.netns)?;
    // Where it comes from is no way out.
    let exits = graph.exits(near.netns).iter().filter(|exit| exit.ipv4 == ipv4);
    let exit = exits.into_iter().find(|exit| exit.ifindex != near.ifindex)?;
    let leaves = |route: &&&Route| {
        let of_family = route.to.addr().is_ipv4() == ipv4;
        of_family && route.is_default() && leads_to(snapshot, near, route.via)
    };
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
