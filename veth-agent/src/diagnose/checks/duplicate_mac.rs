//! Two ends that share a MAC on one segment: a bridge sends to the one that it heard last.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnose::{Case, End, Finding},
    inventory::Bridge,
    types::{EndId, MacAddr},
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut shared: Vec<(MacAddr, BTreeSet<EndId>)> = Vec::new();
    let mut taken = BTreeSet::new();
    for segment in case.layer_two() {
        let owners = by_mac(segment);
        taken.extend(owners.keys().copied());
        let several = owners.into_iter().filter(|(_, owners)| owners.len() > 1);
        several.for_each(|found| merge(&mut shared, found));
    }
    for bridge in &case.bridges {
        let ports = bridge.ports().filter_map(|port| case.end(bridge.netns.end(port.index)));
        let ports = by_mac(ports);
        taken.extend(ports.keys().copied());
        let taken = taken_by_ports(case, bridge, &ports).into_iter();
        taken.for_each(|found| merge(&mut shared, found));
    }
    shared.iter().filter_map(|(mac, owners)| finding(case, *mac, owners, &taken)).collect()
}

/// A bridge has the MAC of one of its ports: who shares it with both is told of once.
fn merge(shared: &mut Vec<(MacAddr, BTreeSet<EndId>)>, (mac, owners): (MacAddr, BTreeSet<EndId>)) {
    let same = shared.iter_mut().find(|known| known.0 == mac && !known.1.is_disjoint(&owners));
    match same {
        Some((_, known)) => known.extend(owners),
        None => shared.push((mac, owners)),
    }
}

fn by_mac<'a>(links: impl IntoIterator<Item = End<'a>>) -> BTreeMap<MacAddr, BTreeSet<EndId>> {
    let mut owners: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for link in links {
        if let Some(mac) = link.link.mac {
            owners.entry(mac).or_default().insert(link.id);
        }
    }
    owners
}

/// Who has the MAC of a port: a bridge keeps to itself what is sent to those (`BR_FDB_LOCAL`).
fn taken_by_ports(
    case: &Case<'_>,
    bridge: &Bridge<'_>,
    ports: &BTreeMap<MacAddr, BTreeSet<EndId>>,
) -> Vec<(MacAddr, BTreeSet<EndId>)> {
    let far = bridge.far_ends(case.snapshot).filter_map(|(_, far)| case.end(far));
    let taken = far.filter_map(|far| {
        let (mac, owners) = ports.get_key_value(&far.link.mac?)?;
        Some((*mac, owners.iter().copied().chain([far.id]).collect()))
    });
    taken.collect()
}

fn finding(
    case: &Case<'_>,
    mac: MacAddr,
    owners: &BTreeSet<EndId>,
    taken: &BTreeSet<MacAddr>,
) -> Option<Finding> {
    let names: Vec<_> = owners.iter().map(|owner| case.name(*owner)).collect();
    let end =
        owners.iter().filter_map(|owner| case.end(*owner)).min_by_key(|end| case.order(end))?;
    let what = format!("{} have the same MAC {mac}", names.join(" and "));
    let command = format!("link set dev {} address {}", end.word(), free_mac(mac, taken)?);
    let mut finding = Finding::error("duplicate-mac", end.id, what)
        .because(format!("{} owners on one segment", owners.len()), "IFLA_ADDRESS")
        .mended_by(case.ip(end.netns, &command));
    finding.others.extend(owners);
    Some(forgotten(case, mac, &end, finding))
}

/// Who has learned the MAC goes on sending to it for a while (`base_reachable_time_ms`), unless told.
fn forgotten(case: &Case<'_>, mac: MacAddr, end: &End<'_>, finding: Finding) -> Finding {
    let mut finding = finding;
    for (cookie, facts) in case.facts {
        let Some(netns) = case.snapshot.namespaces.get(cookie) else { continue };
        let learned = facts.neighbours.iter().filter(|it| it.mac == Some(mac));
        for neighbour in learned.filter(|it| end.has(it.address)) {
            let Some(link) = case.end(netns.end(neighbour.dev)) else { continue };
            let command = format!("neighbour flush to {} dev {}", neighbour.address, link.word());
            finding = finding.mended_by(case.ip(netns, &command));
        }
    }
    finding
}

/// A locally administered MAC (IEEE 802, 8.2.2) that nobody seen here has.
fn free_mac(mac: MacAddr, taken: &BTreeSet<MacAddr>) -> Option<MacAddr> {
    let MacAddr([_, b, c, d, e, _]) = mac;
    let mut candidates = (0..=255).map(|last| MacAddr([0x02, b, c, d, e, last]));
    candidates.find(|candidate| !taken.contains(candidate))
}
