//! Firewalls that let nothing through at all. What a rule drops of some packets, only counting them
//! tells: see `dropped`.

use crate::{
    diagnose::{Case, End, Facts, Finding},
    firewall::{Chain, Hook, Place, nft_takes},
    inventory::Namespace,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (cookie, facts) in case.facts {
        let Some(netns) = case.snapshot.namespaces.get(cookie) else { continue };
        let chains = facts.firewall.chains.iter();
        let chains = chains.filter(|chain| is_on_path(case, netns, facts, chain));
        found.extend(chains.filter_map(|chain| closed(case, netns, facts, chain)));
    }
    found
}

/// Whether packets of pairs pass a chain: not one of a family that they do not use.
fn is_on_path(case: &Case<'_>, netns: &Namespace, facts: &Facts, chain: &Chain) -> bool {
    is_crossed(case, netns, facts, &Place::of(chain), true)
}

/// Whether packets of pairs come to a place, of families that they use or of any.
pub fn is_crossed(
    case: &Case<'_>,
    netns: &Namespace,
    facts: &Facts,
    place: &Place,
    used: bool,
) -> bool {
    let families = match place.family {
        "inet" => &["ip", "ip6"][..],
        _ => std::slice::from_ref(&place.family),
    };
    let crossed = |family| {
        is_met(case, netns, facts, place, family) && (!used || is_used(case, netns, family))
    };
    families.iter().any(|family| crossed(family))
}

/// Whether packets of a family come to a place: to one for forwarding only where something is forwarded, or
/// where a bridge hands what it forwards to IP.
fn is_met(case: &Case<'_>, netns: &Namespace, facts: &Facts, place: &Place, family: &str) -> bool {
    let ends = || netns.links.values().filter(|link| link.kind.is_paired());
    let bridged = || ends().any(|link| link.port.is_some());
    let of_device = || ends().any(|link| place.devices.contains(&link.name));
    match (family, place.hook) {
        ("bridge", _) => bridged(),
        ("netdev", _) | (_, Hook::Ingress | Hook::Egress) => of_device(),
        (_, Hook::Forward) => {
            bridged() && facts.bridge_calls_ip
                || routes(netns, facts, family) && case.forwards(netns)
        }
        _ => true,
    }
}

/// Whether any link of a namespace forwards packets of a family.
fn routes(netns: &Namespace, facts: &Facts, family: &str) -> bool {
    match family {
        "ip" => netns.links.values().any(|link| link.switches.forwards_ipv4),
        _ => facts.forwards_ipv6,
    }
}

/// Whether the pairs of a namespace have addresses of a family, at either end, or the bridges of these. Every
/// link speaks IPv6 to those beside it: nobody misses that.
fn is_used(case: &Case<'_>, netns: &Namespace, family: &str) -> bool {
    let ends = netns.links.values().filter(|link| link.kind.is_paired());
    let near = ends.filter_map(|link| case.end(netns.end(link.index)));
    let mut links = near.flat_map(|near| {
        let bridge = near.link.master.and_then(|master| case.end(netns.end(master)));
        [case.peer(&near), bridge, Some(near)].into_iter().flatten()
    });
    let has = |end: End<'_>, ipv4| end.addresses().any(|net| net.addr().is_ipv4() == ipv4);
    match family {
        "ip" | "arp" => links.any(|end| has(end, true)),
        "ip6" => links.any(|end| has(end, false)),
        _ => true,
    }
}

/// Whether a firewall lets nothing through a namespace.
pub fn closed_in(case: &Case<'_>, netns: &Namespace) -> bool {
    case.facts(netns).is_some_and(|facts| {
        let mut chains = facts.firewall.chains.iter();
        chains.any(|chain| {
            is_on_path(case, netns, facts, chain) && closed(case, netns, facts, chain).is_some()
        })
    })
}

fn closed(case: &Case<'_>, netns: &Namespace, facts: &Facts, chain: &Chain) -> Option<Finding> {
    let Chain { family, table, name, .. } = chain;
    let place = format!("nft {family} {table} {name}");
    let first = facts.firewall.rules.iter().find(|rule| {
        rule.takes_all
            && rule.handle.is_some()
            && rule.handle == chain.first_rule
            && rule.place == place
    });
    let end = netns.links.values().find(|link| link.kind.is_paired())?;
    let label = case.label(netns);
    let (what, fact, mend) = match first {
        Some(rule) => (
            format!("a firewall in {label} drops every packet: {}", rule.name),
            "its first rule takes everything".to_owned(),
            rule.remove.clone(),
        ),
        None if chain.drops && chain.rules == 0 => (
            format!("a firewall in {label} drops every packet: {place}, policy drop"),
            "it has no rule that accepts anything".to_owned(),
            nft_takes(table, name)
                .then(|| format!("nft chain {family} {table} {name} '{{ policy accept ; }}'")),
        ),
        None => return None,
    };
    let mut finding =
        Finding::error("firewall", netns.end(end.index), what).because(fact, "NFT_MSG_GETRULE");
    finding.mend.extend(mend.map(|mend| case.inside(netns, &mend)));
    Some(finding)
}
