//! Firewalls that let nothing through at all. What a rule drops of some packets, only counting them
//! tells: see `dropped`.

use crate::{
    diagnose::{Case, Facts, Finding},
    firewall::{Chain, Hook},
    inventory::Namespace,
    shell::quote,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (cookie, facts) in case.facts {
        let Some(netns) = case.snapshot.namespaces.get(cookie) else { continue };
        let chains = facts.firewall.chains.iter().filter(|chain| is_on_path(case, netns, chain));
        found.extend(chains.filter_map(|chain| closed(case, netns, facts, chain)));
    }
    found
}

/// Whether packets of pairs pass a chain: one for forwarding only where something is forwarded.
fn is_on_path(case: &Case<'_>, netns: &Namespace, chain: &Chain) -> bool {
    let ends = || netns.links.values().filter(|link| link.kind.is_paired());
    let bridged = ends().any(|link| link.master.is_some());
    let of_device = || ends().any(|link| chain.devices.contains(&link.name));
    match (chain.family, chain.hook) {
        ("bridge", _) => bridged,
        ("netdev", _) | (_, Hook::Ingress | Hook::Egress) => of_device(),
        (_, Hook::Forward) => case.forwards(netns),
        _ => true,
    }
}

/// Whether a firewall lets nothing through a namespace.
pub fn closed_in(case: &Case<'_>, netns: &Namespace) -> bool {
    case.facts(netns).is_some_and(|facts| {
        let mut chains = facts.firewall.chains.iter();
        chains.any(|chain| {
            is_on_path(case, netns, chain) && closed(case, netns, facts, chain).is_some()
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
            && rule.name.starts_with(&place)
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
            format!("nft chain {family} {} {} '{{ policy accept ; }}'", quote(table), quote(name)),
        ),
        None => return None,
    };
    let finding =
        Finding::error("firewall", netns.end(end.index), what).because(fact, "NFT_MSG_GETRULE");
    Some(finding.mended_by(case.inside(netns, &mend)))
}
