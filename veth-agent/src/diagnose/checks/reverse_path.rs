//! Packets that come in by one link, and would be answered by another (RFC 3704, strict mode).

use std::net::IpAddr;

use crate::{
    diagnose::{Case, End, Finding, Way, borrowed_sources},
    shell::quote,
};

/// `rp_filter` in strict mode.
const STRICT: u8 = 1;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for end in case.ends().filter(End::carries) {
        let Some(near) = case.peer(&end).filter(|near| near.id.netns != end.id.netns) else {
            continue;
        };
        let entry = case.bridge(&near).and_then(|bridge| case.end(bridge.id())).unwrap_or(near);
        for source in borrowed_sources(&end).into_iter().filter(IpAddr::is_ipv4) {
            found.extend(filtered(case, &end, &entry, source));
        }
    }
    found
}

fn filtered(case: &Case<'_>, end: &End<'_>, entry: &End<'_>, source: IpAddr) -> Option<Finding> {
    let facts = case.facts(entry.netns)?;
    let strict = entry.link.switches.rp_filter.max(facts.rp_filter) == STRICT;
    let Ok(Way { dev, .. }) = facts.routes.get(&source)? else { return None };
    if !strict || *dev == entry.id.ifindex {
        return None;
    }
    let name = &entry.link.name;
    let back = entry.netns.links.get(dev).map_or("another link", |dev| &dev.name);
    let what = format!("{} drops what comes from {source}: wrong way in", case.name_of(entry));
    let switch = format!("net/ipv4/conf/{name}/rp_filter");
    let mut finding = Finding::error("reverse-path", entry.id, what)
        .because(format!("{switch}, or the one for all, is 1 (strict)"), "/proc/sys")
        .because(format!("the way back to {source} is by {back}"), "RTM_GETROUTE")
        .because(format!("{} sends from it", case.name_of(end)), "RTM_GETROUTE")
        .mended_by(case.inside(entry.netns, &format!("sysctl -w {}=2", quote(&switch))));
    finding.others.push(end.id);
    Some(finding)
}
