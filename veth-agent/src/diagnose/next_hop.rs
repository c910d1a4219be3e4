//! Addresses that a namespace sends to by an end, and that nobody behind it has.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Case, End, NeighbourState};
use crate::inventory::{Bridge, LinkKind, Namespace, Route};

/// A next hop that nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed<'a> {
    /// The route.
    pub route: &'a Route,
    /// Its next hop, or its destination, with the prefix of the sender's subnet.
    pub net: IpNet,
}

/// The next hops by an end that nobody on the other side has: gateways, and single addresses. Only where all
/// that is there can be seen, and nobody answers for others.
#[must_use]
pub fn missed<'a>(case: &Case<'a>, end: &End<'a>) -> Vec<Missed<'a>> {
    if !end.carries() || !end.link.arp || end.serves_another() {
        return Vec::new();
    }
    let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
    let routes = routes.filter(|route| !route.is_of_the_link());
    let hops = routes.filter_map(|route| Some((route, route.hop()?)));
    let unknown = hops.filter(|(_, hop)| !is_there(case, end, *hop));
    unknown.filter_map(|(route, hop)| Some(Missed { route, net: net(end, hop)? })).collect()
}

/// The same without those that somebody has answered for, whom nobody here sees.
pub fn unanswered<'a>(case: &Case<'a>, end: &End<'a>) -> impl Iterator<Item = Missed<'a>> {
    let silent = |hop| !has_answered(case, end, hop) && !may_answer(case, end, hop);
    missed(case, end).into_iter().filter(move |it| silent(it.net.addr()))
}

fn net(end: &End<'_>, hop: IpAddr) -> Option<IpNet> {
    let own = end.link.addresses.iter().map(|own| own.net).find(|own| own.contains(&hop));
    let length = own.map_or(if hop.is_ipv4() { 32 } else { 128 }, |own| own.prefix_len());
    IpNet::new(hop, length).ok()
}

/// Whether somebody has a next hop, or may have, for all that can be seen.
fn is_there(case: &Case<'_>, end: &End<'_>, hop: IpAddr) -> bool {
    let Some(peer) = case.peer(end).filter(End::carries) else { return true };
    // Nearly always it is the host's, and a bridge may have a thousand ports to look at.
    if hop.is_ipv4() && case.owners(hop).any(|owner| owner.id.netns == peer.id.netns) {
        return true;
    }
    if end.netns.links.values().any(|link| link.addresses.iter().any(|own| own.net.addr() == hop)) {
        return true;
    }
    let bridge = case.bridge(&peer);
    if peer.link.master.is_some() && bridge.is_none_or(|bridge| !is_seen_whole(case, bridge)) {
        return true;
    }
    let beyond = case.beyond(end).into_iter().filter_map(|id| case.end(id));
    beyond.into_iter().any(|link| may_have(case, &link, hop))
}

/// Whether nothing hangs on a bridge but ends whose other ends were seen.
pub fn is_seen_whole(case: &Case<'_>, bridge: &Bridge<'_>) -> bool {
    let far = bridge.far_ends(case.snapshot).count();
    bridge.link.admin_up && bridge.others.is_empty() && far == bridge.ends.len()
}

/// Whether a link answers for an address: its own or, of IPv4, any of its namespace; or it may answer for
/// others.
fn may_have(case: &Case<'_>, link: &End<'_>, hop: IpAddr) -> bool {
    let switches = link.link.switches;
    let proxy = if hop.is_ipv4() {
        switches.proxy_arp || case.facts(link.netns).is_none_or(|facts| facts.proxy_arp)
    } else {
        switches.proxy_ndp
    };
    let mut owners = case.owners(hop);
    let own = owners.any(|owner| {
        owner.id == link.id || (hop.is_ipv4() && owner.netns.cookie == link.netns.cookie)
    });
    own || proxy || link.serves_another() || is_local(case, link.netns, hop)
}

/// Whether a namespace takes an address for its own that none of its links has.
fn is_local(case: &Case<'_>, netns: &Namespace, address: IpAddr) -> bool {
    let Some(Ok(way)) = case.facts(netns).and_then(|facts| facts.routes.get(&address)) else {
        return false;
    };
    netns.links.get(&way.dev).is_some_and(|link| link.kind == LinkKind::Loopback)
}

/// Whether the other side has an address on another link, and was not asked in vain: of IPv6 the kernel
/// would not answer, and a program might.
fn may_answer(case: &Case<'_>, end: &End<'_>, hop: IpAddr) -> bool {
    let peer = case.peer(end).map(|peer| peer.id.netns);
    let entries = case.facts(end.netns).into_iter().flat_map(|facts| &facts.neighbours);
    let mut entries = entries.filter(|it| it.dev == end.id.ifindex && it.address == hop);
    !entries.any(|it| matches!(it.state, NeighbourState::Unanswered { .. }))
        && case.owners(hop).any(|owner| Some(owner.id.netns) == peer)
}

/// Whether somebody has answered for it, or an operator said who has it.
fn has_answered(case: &Case<'_>, end: &End<'_>, hop: IpAddr) -> bool {
    let neighbours = case.facts(end.netns).into_iter().flat_map(|facts| &facts.neighbours);
    let mut entries = neighbours.filter(|it| it.dev == end.id.ifindex && it.address == hop);
    entries.any(|it| !matches!(it.state, NeighbourState::Unanswered { .. }))
}
