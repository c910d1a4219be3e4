//! Routes by way of somebody who is not there.

use std::collections::BTreeSet;

use super::no_address;
use crate::{
    diagnose::{Case, Finding, next_hop},
    shell::quote,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for end in case.ends() {
        // That the other end has no address at all is a finding of its own.
        let peer = case.peer(&end).filter(|peer| !no_address::is_bare(case, peer));
        let Some(entry) = peer.and_then(|peer| case.entry(&peer)) else { continue };
        let mut told = BTreeSet::new();
        for missed in next_hop::unanswered(case, &end) {
            if missed.route.via.is_none() || !told.insert(missed.net) {
                continue;
            }
            let switched_off = missed.net.addr().is_ipv6() && entry.link.switches.ipv6_disabled;
            // Of an end, that is a finding of its own.
            if switched_off && entry.link.kind.is_paired() {
                continue;
            }
            let (hop, to) = (missed.net.addr(), missed.route.to);
            let what = format!("{} sends by way of {hop}, which nobody has", case.name_of(&end));
            let command = format!("addr add {} dev {}", missed.net, entry.word());
            let mut finding = Finding::error("next-hop", end.id, what)
                .because(format!("the route to {to} is via {hop}"), "RTM_GETROUTE")
                .because(format!("{} has not got it", case.name_of(&entry)), "RTM_GETADDR");
            if switched_off {
                let switch = quote(&format!("net/ipv6/conf/{}/disable_ipv6", entry.link.name));
                let command = format!("sysctl -w {switch}=0");
                finding = finding
                    .because("IPv6 is switched off on it", "/proc/sys")
                    .mended_by(case.inside(entry.netns, &command));
            }
            finding = finding.mended_by(case.ip(entry.netns, &command));
            finding.others.push(entry.id);
            found.push(finding);
        }
    }
    found.sort_by(|one, other| one.what.cmp(&other.what));
    // Who hang on one bridge and miss one gateway are mended alike.
    let mut mends = BTreeSet::new();
    found.retain(|finding| mends.insert(finding.mend.clone()));
    found
}
