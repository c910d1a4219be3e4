//! An end without an address, where something is to be reached by it.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::unplugged;
use crate::diagnose::{Case, Certainty, End, Finding, is_link_local, next_hop, way_out};

/// Around an address without a subnet, others are looked for in so large a one.
const NEAR_IPV4: u8 = 24;
const NEAR_IPV6: u8 = 64;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for end in case.ends().filter(|end| end.carries() && is_bare(case, end)) {
        let Some(peer) = case.peer(&end).filter(End::carries) else { continue };
        // Nobody reaches a namespace's own addresses by a cable within it. A port needs none.
        if peer.id.netns == end.id.netns || unplugged::missed(case, &end).is_some() {
            continue;
        }
        match (beyond(case, &peer).first(), is_bare(case, &peer)) {
            (Some(net), _) => found.push(of_end(case, &end, &peer, *net)),
            // Once for both.
            (None, true) if has_ipv6(&end) && has_ipv6(&peer) => {}
            (None, true) if case.order(&end) < case.order(&peer) => {
                found.push(of_pair(case, &end, &peer))
            }
            _ => {}
        }
    }
    found
}

/// Neither an address nor anything else to do. One of 169.254/16 was given to it: IPv4 has none of its own.
pub fn is_bare(case: &Case<'_>, end: &End<'_>) -> bool {
    let given = |net: IpNet| net.addr().is_ipv4() || !is_link_local(net.addr());
    !end.link.addresses.iter().any(|own| given(own.net))
        && !end.serves_another()
        && !case.needs_no_address(end)
}

/// It has an address of its own, which is enough between two.
fn has_ipv6(end: &End<'_>) -> bool {
    end.link.addresses.iter().any(|own| own.net.addr().is_ipv6())
}

/// The subnets on the other side of a pair: the peer's, or those of its bridge and of the others there.
fn beyond(case: &Case<'_>, peer: &End<'_>) -> Vec<IpNet> {
    let Some(bridge) = case.bridge(peer) else { return peer.addresses().collect() };
    let own = case.end(bridge.id()).into_iter();
    let others = bridge.far_ends(case.snapshot).filter_map(|(_, far)| case.end(far));
    own.chain(others).flat_map(|end| end.addresses()).collect()
}

fn of_end(case: &Case<'_>, end: &End<'_>, peer: &End<'_>, net: IpNet) -> Finding {
    let what = format!("{} has no address", case.name_of(end));
    let finding = Finding::error("no-address", end.id, what)
        .because(format!("on the other side is {net}"), "RTM_GETADDR");
    let link = end.word();
    let proposed = proposed(case, end, peer, net);
    if proposed.is_empty() {
        return finding;
    }
    let finding = proposed.into_iter().fold(finding, |finding, address| {
        let command = format!("addr add {address} dev {link}");
        let finding = finding.mended_by(case.ip(end.netns, &command));
        routed(case, end, peer, (address, net), finding)
    });
    // Other routes went with the address that it had.
    way_out::mended(case, end, finding)
}

/// The addresses that the other side sends to already, or a free one of its subnet.
fn proposed(case: &Case<'_>, end: &End<'_>, peer: &End<'_>, net: IpNet) -> Vec<IpNet> {
    let missed: BTreeSet<_> =
        next_hop::missed(case, peer).iter().map(|missed| missed.net).collect();
    if missed.is_empty() {
        free(case, end, net).into_iter().collect()
    } else {
        missed.into_iter().collect()
    }
}

fn free(case: &Case<'_>, end: &End<'_>, net: IpNet) -> Option<IpNet> {
    let (near, length) = match (net.prefix_len() == net.max_prefix_len(), net) {
        (false, net) => (net, net.prefix_len()),
        (true, IpNet::V4(_)) => (IpNet::new(net.addr(), NEAR_IPV4).ok()?, net.max_prefix_len()),
        (true, IpNet::V6(_)) => (IpNet::new(net.addr(), NEAR_IPV6).ok()?, net.max_prefix_len()),
    };
    IpNet::new(case.free_address(end, near)?, length).ok()
}

/// Where the two are in no subnet together, each needs a route to the other.
fn routed(
    case: &Case<'_>,
    end: &End<'_>,
    peer: &End<'_>,
    (own, other): (IpNet, IpNet),
    finding: Finding,
) -> Finding {
    if own.addr().is_ipv4() != other.addr().is_ipv4() {
        return finding;
    }
    let ways = [(end, own, other.addr()), (peer, other, own.addr())];
    let lacking = ways.into_iter().filter(|(from, net, to)| {
        let mut routes = from.netns.routes.iter().filter(|route| route.dev == from.id.ifindex);
        !net.contains(to) && !routes.any(|route| route.to.addr() == *to)
    });
    lacking.fold(finding, |finding, (from, _, to)| {
        let command = format!("route replace {to} dev {}", from.word());
        finding.mended_by(case.ip(from.netns, &command))
    })
}

fn of_pair(case: &Case<'_>, end: &End<'_>, peer: &End<'_>) -> Finding {
    let what = format!("neither {} nor {} has an address", case.name_of(end), case.name_of(peer));
    let mut finding = Finding::error("no-address", end.id, what)
        .because("only link-local ones, if any", "RTM_GETADDR")
        .only(Certainty::Likely);
    finding.others.push(peer.id);
    let Some(net) = case.unused_subnet() else { return finding };
    for (end, host) in [end, peer].into_iter().zip(net.hosts()) {
        let command = format!("addr add {host}/{} dev {}", net.prefix_len(), end.word());
        finding = finding.mended_by(case.ip(end.netns, &command));
    }
    finding
}
