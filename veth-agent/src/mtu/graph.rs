//! How large the packets are that each end puts on its cable.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Exit, exits, takes};
use crate::{
    inventory::{Bridge, Link, Namespace, Route, Snapshot},
    types::{EndId, NetnsCookie},
};

/// A snapshot with what is asked of it for every end looked up once.
pub struct Graph<'a> {
    /// The picture.
    pub snapshot: &'a Snapshot,
    /// Its bridges.
    pub bridges: Vec<Bridge<'a>>,
    routes: BTreeMap<EndId, Vec<&'a Route>>,
    exits: BTreeMap<NetnsCookie, Vec<Exit>>,
    /// What comes into each bridge other than by each of its ports, in bytes.
    into: BTreeMap<EndId, u32>,
}

impl<'a> Graph<'a> {
    /// Of a snapshot that was taken with its routes.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut routes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for netns in snapshot.namespaces.values() {
            for route in &netns.routes {
                routes.entry(netns.end(route.dev)).or_default().push(route);
            }
        }
        let exits =
            snapshot.namespaces.values().map(|netns| (netns.cookie, exits(netns))).collect();
        let bridges = snapshot.bridges();
        let mut graph = Self { snapshot, bridges, routes, exits, into: BTreeMap::new() };
        graph.into = graph.bridges.iter().flat_map(|bridge| graph.coming_into(bridge)).collect();
        graph
    }

    /// Bytes of the largest packet that an end sends, without the Ethernet header. A smaller MTU of all
    /// its routes makes its own MTU a matter of receiving alone, as Cilium has it.
    #[must_use]
    pub fn sends(&self, end: EndId) -> Option<u32> {
        let netns = self.snapshot.namespaces.get(&end.netns)?;
        let link = netns.links.get(&end.ifindex)?;
        Some(match self.into.get(&end) {
            // A bridge lets nothing out by a port that is larger than the port takes.
            Some(into) => link.mtu.min(*into),
            None => self.by_routes(netns, link),
        })
    }

    /// The ways out of a namespace, the narrowest first.
    pub(super) fn exits(&self, netns: NetnsCookie) -> &[Exit] {
        self.exits.get(&netns).map_or(&[], Vec::as_slice)
    }

    /// For each port that is an end, the largest packet that comes into the bridge other than by it.
    fn coming_into(&self, bridge: &Bridge<'_>) -> Vec<(EndId, u32)> {
        let own = self.by_routes(bridge.netns, bridge.link);
        let mut by_port: Vec<_> = bridge
            .ports()
            .map(|port| (self.by_port(bridge.netns, port), port.index))
            .chain([(own, bridge.link.index)])
            .collect();
        by_port.sort_by(|one, other| other.cmp(one));
        let but = |port: &Link| by_port.iter().find(|(_, index)| *index != port.index);
        let ends = bridge.ends.iter();
        ends.filter_map(|port| Some((bridge.netns.end(port.index), but(port)?.0))).collect()
    }

    /// The largest packet that comes into a bridge by a port.
    pub(super) fn by_port(&self, netns: &Namespace, port: &Link) -> u32 {
        let far = self.snapshot.peer_of(netns.end(port.index));
        let far = far.and_then(|far| {
            let netns = self.snapshot.namespaces.get(&far.netns)?;
            Some((netns, netns.links.get(&far.ifindex)?))
        });
        match far {
            // What another bridge has behind it is its own matter.
            Some((_, far)) if far.master.is_some() => far.mtu.min(port.mtu),
            // More does not come through the pair.
            Some((netns, far)) => self.by_routes(netns, far).min(port.mtu),
            None => takes(netns, port),
        }
    }

    /// The routes over a link.
    pub(super) fn over(&self, link: EndId) -> &[&'a Route] {
        self.routes.get(&link).map_or(&[], Vec::as_slice)
    }

    /// The largest packet that a namespace sends over a link of its own.
    pub(super) fn by_routes(&self, netns: &Namespace, link: &Link) -> u32 {
        let over = self.over(netns.end(link.index));
        let largest = over
            .iter()
            .filter(|route| !is_only_for_neighbours(route, over))
            .map(|route| route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)))
            .max();
        largest.unwrap_or(link.mtu)
    }
}

/// Whether nothing large follows a route: link-local addresses, multicast, and the way to the gateway of
/// another route over the same link.
fn is_only_for_neighbours(route: &Route, over: &[&Route]) -> bool {
    let to = route.to;
    let whole = to.prefix_len() == to.max_prefix_len();
    let is_gateway = |gateway: IpAddr| whole && to.addr() == gateway;
    route.is_of_the_link()
        || (route.via.is_none() && over.iter().any(|it| it.via.is_some_and(is_gateway)))
}
