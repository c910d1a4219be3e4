//! Links that wrap packets up, and what they stand on.

use std::net::IpAddr;

use crate::{
    inventory::{Link, Namespace, Route, Snapshot},
    types::{EndId, IfIndex},
};

/// A tunnel whose packets, wrapped up, are larger than the link below takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded {
    /// The tunnel.
    pub tunnel: EndId,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Bytes that it puts around each packet, at the least.
    pub overhead: u32,
    /// The link below.
    pub below: IfIndex,
    /// What that takes, in bytes.
    pub takes: u32,
}

/// The tunnels of the agent's own namespace that are larger than what they stand on allows.
#[must_use]
pub fn overloaded(snapshot: &Snapshot) -> Vec<Overloaded> {
    let Some(netns) = snapshot.namespaces.get(&snapshot.host) else { return Vec::new() };
    let tunnels = netns.links.values().filter(|link| link.admin_up);
    tunnels.filter_map(|link| overload(netns, link)).collect()
}

fn overload(netns: &Namespace, link: &Link) -> Option<Overloaded> {
    let (below, takes) = below(netns, link)?;
    let overhead = link.tunnel?.overhead;
    let overloaded =
        Overloaded { tunnel: netns.end(link.index), mtu: link.mtu, overhead, below, takes };
    (link.mtu + overhead > takes).then_some(overloaded)
}

/// The largest packet that a link takes, in bytes: of a tunnel, one that the link below takes, too.
#[must_use]
pub fn takes(netns: &Namespace, link: &Link) -> u32 {
    match (link.tunnel, below(netns, link)) {
        (Some(tunnel), Some((_, below))) => link.mtu.min(below.saturating_sub(tunnel.overhead)),
        _ => link.mtu,
    }
}

/// The link by which a tunnel sends, and what it takes there.
fn below(netns: &Namespace, link: &Link) -> Option<(IfIndex, u32)> {
    let tunnel = link.tunnel?;
    let named = link.lower.and_then(|lower| netns.links.get(&lower));
    let routed = || netns.links.get(&route_for(netns, tunnel.remote, link.index)?.dev);
    let below = named.or_else(routed)?;
    Some((below.index, below.mtu))
}

/// The route to the other end of a tunnel; where that is not one place, the default route.
fn route_for(netns: &Namespace, remote: Option<IpAddr>, tunnel: IfIndex) -> Option<&Route> {
    let fits = |route: &&Route| match remote {
        Some(remote) => route.to.contains(&remote),
        None => route.is_default(),
    };
    let usable = netns.routes.iter().filter(fits).filter(|route| route.dev != tunnel);
    usable.max_by_key(|route| (route.to.prefix_len(), std::cmp::Reverse(route.metric)))
}
