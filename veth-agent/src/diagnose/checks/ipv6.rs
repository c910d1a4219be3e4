//! IPv6 switched off where the other side uses it.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    diagnose::{Case, End, Finding, next_hop},
    shell::quote,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let ends = case.ends().filter(|end| end.carries() && !end.serves_another());
    ends.filter_map(|end| switched_off(case, &end)).collect()
}

fn switched_off(case: &Case<'_>, end: &End<'_>) -> Option<Finding> {
    let peer = case.peer(end).filter(|_| end.link.switches.ipv6_disabled)?;
    let beyond = case.bridge(&peer).and_then(|bridge| case.end(bridge.id())).unwrap_or(peer);
    let address = beyond.addresses().map(|net| net.addr()).find(IpAddr::is_ipv6)?;
    let switch = format!("net/ipv6/conf/{}/disable_ipv6", end.link.name);
    let what = format!("IPv6 is switched off on {}", case.name_of(end));
    let finding = Finding::warning("ipv6-disabled", end.id, what)
        .because(format!("{switch} is 1"), "/proc/sys")
        .because(format!("{} has {address}", case.name_of(&beyond)), "RTM_GETADDR")
        .mended_by(case.inside(end.netns, &format!("sysctl -w {}=0", quote(&switch))));
    // What the other side sends to was lost with the switch.
    let lost = next_hop::missed(case, &peer).into_iter().map(|missed| missed.net);
    let lost: BTreeSet<_> = lost.filter(|net| net.addr().is_ipv6()).collect();
    Some(lost.iter().fold(finding, |finding, net| {
        let command = format!("addr add {net} dev {}", end.word());
        finding.mended_by(case.ip(end.netns, &command))
    }))
}
