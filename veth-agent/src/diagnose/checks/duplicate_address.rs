//! Two ends that share an address: whoever answers first has it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{
    diagnose::{Case, End, Finding},
    inventory::Route,
    types::EndId,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut shared: BTreeMap<IpAddr, BTreeSet<EndId>> = BTreeMap::new();
    for segment in case.segments() {
        for (address, owners) in by_address(&segment) {
            // One namespace may have an address on several links.
            let namespaces: BTreeSet<_> = owners.iter().map(|owner| owner.netns).collect();
            if namespaces.len() > 1 && !are_apart(case, address, &owners) {
                shared.entry(address).or_default().extend(owners);
            }
        }
    }
    let found = shared.iter().filter_map(|(address, owners)| finding(case, *address, owners));
    found.chain(refused(case, &shared)).collect()
}

/// Whether each owner is in the subnet of a link of its own to one namespace, which chooses between these
/// links by other means than the address.
fn are_apart(case: &Case<'_>, address: IpAddr, owners: &BTreeSet<EndId>) -> bool {
    let near: Vec<_> = owners
        .iter()
        .filter_map(|owner| case.peer(&case.end(*owner)?))
        .filter(|near| near.link.master.is_none() && !owners.contains(&near.id))
        .filter(|near| {
            let mut nets = near.addresses();
            nets.any(|net| net.contains(&address) && net.prefix_len() < net.max_prefix_len())
        })
        .collect();
    let namespaces: BTreeSet<_> = near.iter().map(|near| near.id.netns).collect();
    near.len() == owners.len() && namespaces.len() == 1
}

fn by_address(segment: &[End<'_>]) -> BTreeMap<IpAddr, BTreeSet<EndId>> {
    let mut owners: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for end in segment {
        let kept = end.addresses().map(|net| net.addr());
        for address in kept.chain(end.link.duplicates.iter().copied()) {
            owners.entry(address).or_default().insert(end.id);
        }
    }
    owners
}

fn finding(case: &Case<'_>, address: IpAddr, owners: &BTreeSet<EndId>) -> Option<Finding> {
    let names: Vec<_> = owners.iter().map(|owner| case.name(*owner)).collect();
    let end = who_gives_way(case, address, owners)?;
    let what = format!("{} have the same address {address}", names.join(" and "));
    let mut finding = Finding::error("duplicate-address", end.id, what)
        .because(format!("{} owners on one segment", owners.len()), "RTM_GETADDR");
    finding.others.extend(owners);
    Some(renumber(case, &end, address, finding))
}

/// Who does not use it anyway gives way, then a container before its host; where there is no other address to
/// be had, first who has one more.
fn who_gives_way<'a>(
    case: &Case<'a>,
    address: IpAddr,
    owners: &BTreeSet<EndId>,
) -> Option<End<'a>> {
    let net = subnet_of(case, address);
    let free = |end: &End<'_>| net.and_then(|net| case.free_address(end, net)).is_some();
    let another = |end: &End<'_>| {
        end.addresses()
            .any(|own| own.addr() != address && own.addr().is_ipv4() == address.is_ipv4())
    };
    let ends = owners.iter().filter_map(|owner| case.end(*owner));
    ends.min_by_key(|end| (end.has(address), !another(end) && !free(end), case.order(end)))
}

/// Gives an end another address of the same subnet; routes that go with the old one come again.
fn renumber(case: &Case<'_>, end: &End<'_>, address: IpAddr, finding: Finding) -> Finding {
    let own = end.link.addresses.iter().map(|own| own.net).find(|own| own.addr() == address);
    let Some(net) = own.or_else(|| subnet_of(case, address)) else { return finding };
    let (length, link) = (net.prefix_len(), end.word());
    if !case.is_seen_whole(end) {
        return finding;
    }
    let Some(free) = case.free_address(end, net) else {
        // It keeps those that it has beside.
        let command = format!("addr del {address}/{length} dev {link}");
        return finding.mended_by(case.ip(end.netns, &command));
    };
    let commands = [
        format!("addr del {address}/{length} dev {link}"),
        format!("addr add {free}/{length} dev {link}"),
    ];
    let Some(again) = routes_again(case, end, (address, free)) else { return finding };
    let commands = commands.into_iter().chain(again);
    commands.fold(finding, |finding, command| finding.mended_by(case.ip(end.netns, &command)))
}

/// Commands for the routes that an end loses with its address, those that others are reached by first.
/// `None` where one of them cannot be written again.
fn routes_again(
    case: &Case<'_>,
    end: &End<'_>,
    (old, new): (IpAddr, IpAddr),
) -> Option<Vec<String>> {
    let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
    // Of IPv6, only those by a gateway may have to be there anew.
    let lost = routes.filter(|route| {
        route.to.addr().is_ipv4() == old.is_ipv4() && (route.via.is_some() || old.is_ipv4())
    });
    // Those come with an address.
    let by_kernel =
        |route: &Route| route.rest.as_ref().is_some_and(|rest| rest.contains(" proto kernel"));
    let mut lost: Vec<_> = lost.filter(|route| !by_kernel(route)).cloned().collect();
    lost.sort_by_key(|route| (route.via.is_some(), Reverse(route.to.prefix_len())));
    let again = lost.into_iter().map(|route| {
        let source = route.source.map(|source| if source == old { new } else { source });
        let route = Route { source, ..route };
        let mtu = route.mtu.map(|mtu| format!(" mtu {mtu}")).unwrap_or_default();
        Some(format!("route replace {}{mtu}", case.route_words(end, &route)?))
    });
    again.collect()
}

/// The subnet in which another owner has an address.
fn subnet_of(case: &Case<'_>, address: IpAddr) -> Option<IpNet> {
    let owner = case.owners(address).next()?;
    owner.addresses().find(|net| net.addr() == address)
}

/// Addresses that the kernel itself found taken, by somebody whom nobody here sees.
fn refused<'a>(
    case: &'a Case<'_>,
    shared: &'a BTreeMap<IpAddr, BTreeSet<EndId>>,
) -> impl Iterator<Item = Finding> + use<'a> {
    case.ends().flat_map(move |end| {
        let unknown = end.link.duplicates.iter().filter(|address| !shared.contains_key(address));
        let findings: Vec<_> = unknown
            .map(|address| {
                let what = format!("{}: somebody else has {address}", case.name_of(&end));
                Finding::error("duplicate-address", end.id, what)
                    .because("duplicate address detection failed", "IFA_F_DADFAILED")
                    .mended_by(
                        case.ip(end.netns, &format!("addr del {address} dev {}", end.word())),
                    )
            })
            .collect();
        findings
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        diagnose::Counted,
        inventory::{
            Link, LinkKind,
            crafted::{link, netns, port, snapshot},
        },
    };

    /// Pods on two ports of a bridge have one address: in different VLANs, each may.
    #[test]
    fn vlans_are_segments_of_their_own() {
        let found = |vlan_filtering| {
            let bridge = link(2, LinkKind::Bridge, 1500, &["10.0.0.1/24"]);
            let bridge = Link { vlan_filtering, ..bridge };
            let ports = [3, 4].map(|index| port(index, LinkKind::Veth, 1500, 2));
            let host = netns(1, [vec![bridge], ports.to_vec()].concat(), &[]);
            let pod =
                |cookie| netns(cookie, vec![link(2, LinkKind::Veth, 1500, &["10.0.0.2/24"])], &[]);
            let end = crate::inventory::crafted::end;
            let pairs = [(end(1, 3), end(2, 2)), (end(1, 4), end(3, 2))];
            let picture = snapshot([host, pod(2), pod(3)], &pairs);
            let (facts, counted) = (BTreeMap::new(), Counted::default());
            check(&Case::new(&picture, &facts, &counted)).len()
        };
        assert_eq!(found(false), 1);
        assert_eq!(found(true), 0);
    }
}
