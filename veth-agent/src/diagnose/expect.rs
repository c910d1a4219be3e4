//! Who must be able to send to whom by which link, if the cables are to be of any use.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Case, case::End, next_hop, way_out};
use crate::{
    inventory::Route,
    types::{EndId, NetnsCookie},
};

/// One link, and an address that lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The link: an end, or a bridge.
    pub from: EndId,
    /// The address.
    pub to: IpAddr,
    /// The link that has it.
    pub owner: EndId,
}

/// Everything that is to be expected of pairs that carry packets.
#[must_use]
pub fn expectations(case: &Case<'_>) -> Vec<Expectation> {
    let mut found: Vec<_> = case.ends().flat_map(|end| of_end(case, &end)).collect();
    for bridge in &case.bridges {
        let Some(own) = case.end(bridge.id()).filter(End::carries) else { continue };
        for (port, far) in bridge.far_ends(case.snapshot) {
            let far = case.end(far).filter(|far| far.carries() && !far.serves_another());
            if let Some(far) = far.filter(|_| port.carrier) {
                found.extend(between(case, &own, &far));
            }
        }
    }
    found
}

fn of_end(case: &Case<'_>, end: &End<'_>) -> Vec<Expectation> {
    let Some(peer) = case.peer(end) else { return Vec::new() };
    if !end.carries() || !peer.carries() || end.serves_another() {
        return Vec::new();
    }
    match case.bridge(&peer).map(|bridge| bridge.id()) {
        Some(bridge) => {
            let bridge = case.end(bridge).filter(End::carries);
            bridge.map(|bridge| between(case, end, &bridge)).unwrap_or_default()
        }
        None if peer.link.master.is_some() => Vec::new(),
        None => between(case, end, &peer),
    }
}

/// One address of each family that both have a use for: one in a subnet of the sender's, if there is
/// one. A second address on an end, for a service, is its owner's matter.
fn between(case: &Case<'_>, from: &End<'_>, to: &End<'_>) -> Vec<Expectation> {
    let own: Vec<IpNet> = from.addresses().collect();
    let mut found = Vec::new();
    for ipv4 in [true, false] {
        let of_family = |net: &IpNet| net.addr().is_ipv4() == ipv4;
        let usable = own.iter().any(of_family) || (own.is_empty() && sends(case, from, to));
        let addresses: Vec<IpNet> = to.addresses().filter(of_family).filter(|_| usable).collect();
        let near = |net: &&IpNet| own.iter().any(|own| own.contains(&net.addr()));
        let first = || addresses.first().filter(|_| own.is_empty() || share(case, from, to));
        if let Some(net) = addresses.iter().find(near).or_else(first) {
            found.push(Expectation { from: from.id, to: net.addr(), owner: to.id });
        }
    }
    found
}

/// Whether two without a subnet in common have to do with each other all the same: on a bridge by which others
/// come who are not seen, or that sorts by VLAN, only where one is the other's gateway.
fn share(case: &Case<'_>, from: &End<'_>, to: &End<'_>) -> bool {
    let own = case.bridges.iter().find(|bridge| [from.id, to.id].contains(&bridge.id()));
    let Some(bridge) = own else { return true };
    let sends_by = |one: &End<'_>, other: &End<'_>| {
        let mut routes = one.netns.routes.iter().filter(|route| route.dev == one.id.ifindex);
        routes.any(|route| route.via.is_some_and(|via| other.has(via)))
    };
    let whole = next_hop::is_seen_whole(case, bridge) && !bridge.link.vlan_filtering;
    whole || sends_by(from, to) || sends_by(to, from)
}

/// Whether a link without an address sends all the same: what comes from elsewhere, or answers to those
/// whom the namespace does not know to be elsewhere.
fn sends(case: &Case<'_>, from: &End<'_>, to: &End<'_>) -> bool {
    let elsewhere = |net: IpNet| {
        let mut routes = from.netns.routes.iter().filter(|route| !route.is_default());
        routes.any(|route| route.dev != from.id.ifindex && route.to.contains(&net.addr()))
    };
    case.sends_for_others(from)
        || case.answers_for_others(from)
            && !case.is_in_other_hands(from)
            && !to.addresses().any(elsewhere)
}

/// Whether a namespace sends anything but link-local traffic over a link.
#[must_use]
pub fn has_routes(end: &End<'_>) -> bool {
    end.netns.routes.iter().any(|route| route.dev == end.id.ifindex && !route.is_of_the_link())
}

/// Addresses from which a namespace sends over an end although another of its links has them.
pub fn borrowed_sources(end: &End<'_>) -> BTreeSet<IpAddr> {
    let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
    routes.filter_map(|route| route.source).filter(|source| !end.has(*source)).collect()
}

/// What each namespace's kernel is to be asked: how it would send to these addresses.
#[must_use]
pub fn questions(case: &Case<'_>) -> BTreeMap<NetnsCookie, BTreeSet<IpAddr>> {
    let mut questions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Expectation { from, to, .. } in expectations(case) {
        questions.entry(from.netns).or_default().insert(to);
    }
    for end in case.ends() {
        for ipv4 in [true, false] {
            if let Some(way) = way_out::wanted(case, &end, ipv4) {
                questions.entry(end.id.netns).or_default().insert(way.to);
            }
        }
        if let Some(peer) = case.snapshot.peer_of(end.id) {
            // An address of which no link has it may be local all the same.
            let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
            let hops = routes.filter_map(Route::hop);
            let unknown = hops.filter(|hop| case.owners(*hop).next().is_none());
            questions.entry(peer.netns).or_default().extend(unknown);
            let sources = borrowed_sources(&end);
            questions.entry(peer.netns).or_default().extend(sources);
        }
    }
    questions
}
