//! A host that is somebody's gateway, and does not forward.

use std::collections::BTreeSet;

use crate::{
    diagnose::{Case, End, Facts, Finding, has_routes},
    mtu::exits,
    shell::quote,
    types::EndId,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (link, ipv4) in gateways(case) {
        let Some(link) = case.end(link) else { continue };
        let Some(facts) = case.facts(link.netns) else { continue };
        if !forwards(&link, facts, ipv4) {
            found.push(closed(case, &link, facts, ipv4));
        }
    }
    // One switch for all of a namespace is said once.
    found.dedup_by(|one, other| one.mend == other.mend);
    found
}

/// Links at which packets arrive that are meant for others, by family (IPv4 or not).
fn gateways(case: &Case<'_>) -> BTreeSet<(EndId, bool)> {
    let mut found = BTreeSet::new();
    for end in case.ends().filter(End::carries) {
        let Some(near) = case.peer(&end).filter(|near| near.id.netns != end.id.netns) else {
            continue;
        };
        let entry = case.bridge(&near).map_or(near.id, |bridge| bridge.id());
        if !is_in_use(&near)
            || near.link.master.is_some() && entry == near.id
            || !leads_on(case, &near)
        {
            continue;
        }
        let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
        for (via, ipv4) in routes.filter_map(|it| Some((it.via?, it.to.addr().is_ipv4()))) {
            // On a bridge, the gateway may be somebody else.
            let is_gateway = entry == near.id || case.end(entry).is_some_and(|it| it.has(via));
            if is_gateway {
                found.insert((entry, ipv4));
            }
        }
    }
    found
}

/// Whether a link has any part in the sending of packets.
fn is_in_use(end: &End<'_>) -> bool {
    end.link.master.is_some() || end.addresses().next().is_some() || has_routes(end)
}

/// Whether there is anywhere to forward to.
fn leads_on(case: &Case<'_>, near: &End<'_>) -> bool {
    let out = exits(near.netns).iter().any(|exit| exit.ifindex != near.id.ifindex);
    let elsewhere = |link: &&crate::inventory::Link| {
        let id = near.netns.end(link.index);
        let apart = link.master.is_none() || link.master != near.link.master;
        let in_use = case.end(id).is_some_and(|end| is_in_use(&end));
        id != near.id
            && apart
            && in_use
            && case.snapshot.peer_of(id).is_some_and(|far| far.netns != id.netns)
    };
    out || near.netns.links.values().filter(|link| link.kind.is_paired()).any(|it| elsewhere(&it))
}

fn forwards(link: &End<'_>, facts: &Facts, ipv4: bool) -> bool {
    if ipv4 { link.link.switches.forwards_ipv4 } else { facts.forwards_ipv6 }
}

fn closed(case: &Case<'_>, link: &End<'_>, facts: &Facts, ipv4: bool) -> Finding {
    let label = case.label(link.netns);
    let (family, switch) = match (ipv4, facts.forwards_ipv4) {
        (true, false) => ("IPv4", "net.ipv4.ip_forward".to_owned()),
        (true, true) => ("IPv4", format!("net/ipv4/conf/{}/forwarding", link.link.name)),
        (false, _) => ("IPv6", "net.ipv6.conf.all.forwarding".to_owned()),
    };
    let what = format!("{label} does not forward {family} for those behind {}", link.link.name);
    let mend = format!("sysctl -w {}=1", quote(&switch));
    Finding::error("forwarding", link.id, what)
        .because(format!("{switch} is 0"), "/proc/sys")
        .because("it is their gateway, and has other ways to go", "RTM_GETROUTE")
        .mended_by(case.inside(link.netns, &mend))
}
