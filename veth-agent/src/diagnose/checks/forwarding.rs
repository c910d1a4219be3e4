//! A host that is somebody's gateway, and does not forward.

use std::collections::BTreeSet;

use crate::{
    diagnose::{Case, Certainty, End, Facts, Finding, has_routes},
    mtu::exits,
    shell::quote,
    types::EndId,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (link, ipv4) in gateways(case) {
        let Some(link) = case.end(link) else { continue };
        let Some(facts) = case.facts(link.netns) else { continue };
        if forwards(&link, facts, ipv4) {
            found.extend(answers_lost(case, &link, ipv4));
        } else {
            found.push(closed(case, &link, facts, ipv4));
        }
    }
    // One switch for all of a namespace is said once.
    let mut said = BTreeSet::new();
    found.retain(|finding| said.insert(finding.mend.clone()));
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
        id != near.id
            && apart
            && case.snapshot.peer_of(id).is_some_and(|far| far.netns != id.netns)
            && case.end(id).is_some_and(|end| is_in_use(&end))
    };
    out || near.netns.links.values().filter(|link| link.kind.is_paired()).any(|it| elsewhere(&it))
}

fn forwards(link: &End<'_>, facts: &Facts, ipv4: bool) -> bool {
    let switches = link.link.switches;
    if ipv4 { switches.forwards_ipv4 } else { facts.forwards_ipv6 || switches.forces_ipv6 }
}

/// Ways out by which answers come back, and are not forwarded. IPv6 has one switch for all.
fn answers_lost<'a>(case: &Case<'a>, link: &End<'a>, ipv4: bool) -> Vec<Finding> {
    let ways = exits(link.netns).into_iter().filter(|it| it.ipv4 && ipv4);
    let ways = ways.filter(|it| it.ifindex != link.id.ifindex);
    let ways = ways.filter_map(|it| case.end(link.netns.end(it.ifindex)));
    let closed = ways.filter(|way| way.carries() && !way.link.switches.forwards_ipv4);
    closed.map(|way| answer_lost(case, link, &way)).collect()
}

fn answer_lost(case: &Case<'_>, link: &End<'_>, way: &End<'_>) -> Finding {
    let (label, name) = (case.label(way.netns), &way.link.name);
    let switch = format!("net/ipv4/conf/{name}/forwarding");
    let what = format!("{label} does not forward IPv4 that comes back by {name}");
    let mend = format!("sysctl -w {}=1", quote(&switch));
    let mut finding = Finding::error("forwarding", way.id, what)
        .because(format!("{switch} is 0"), "/proc/sys")
        .because(format!("those behind {} send that way", link.link.name), "RTM_GETROUTE")
        .only(Certainty::Likely)
        .mended_by(case.inside(way.netns, &mend));
    finding.others.push(link.id);
    finding
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
