//! The default route of a namespace that others reach through its host, and that cannot answer them.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{Case, End, Finding, is_link_local};
use crate::{
    firewall::Hook,
    inventory::{LinkKind, Namespace, Snapshot},
    types::{EndId, NetnsCookie},
};

/// A way that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// By whom packets would go: an address of the host.
    pub gateway: IpAddr,
    /// Who sends by that host.
    pub sender: Sender,
    /// What cannot be sent to: the sender or, where that is on the same segment, the host's own gateway.
    pub to: IpAddr,
}

/// An end whose namespace has its default route by a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The end.
    pub end: EndId,
    /// Where its packets enter the host.
    pub entry: EndId,
    /// Its address.
    pub address: IpAddr,
}

/// Those who send by a host, by the host and the family (IPv4 or not): two of different entries are enough.
pub type Senders = BTreeMap<(NetnsCookie, bool), Vec<Sender>>;

/// Whoever sends by a host.
pub fn senders(case: &Case<'_>) -> Senders {
    let mut senders = Senders::new();
    for end in case.ends().filter(End::carries) {
        let Some(entry) = host_entry(case, &end) else { continue };
        let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
        for route in routes.filter(|route| route.is_default()) {
            let (Some(gateway), ipv4) = (route.via, route.to.addr().is_ipv4()) else { continue };
            let mut owners = case.owners(gateway);
            let address = end.addresses().find(|net| net.addr().is_ipv4() == ipv4);
            let (Some(address), true) = (address, owners.any(|it| it.id == entry.id)) else {
                continue;
            };
            let known = senders.entry((entry.id.netns, ipv4)).or_default();
            if known.len() < 2 && known.iter().all(|it| it.entry != entry.id) {
                known.push(Sender { end: end.id, entry: entry.id, address: address.addr() });
            }
        }
    }
    senders
}

/// Where the packets of an end enter another namespace.
fn host_entry<'a>(case: &Case<'a>, end: &End<'a>) -> Option<End<'a>> {
    let near = case.peer(end).filter(|near| near.id.netns != end.id.netns)?;
    case.entry(&near)
}

/// The way out that an end lacks, as far as links, addresses and routes tell.
#[must_use]
pub fn wanted<'a>(case: &Case<'a>, end: &End<'a>, ipv4: bool) -> Option<WayOut> {
    let of_family = |net: &IpNet| net.addr().is_ipv4() == ipv4;
    let has_default = |netns: &Namespace| {
        netns.routes.iter().any(|route| route.is_default() && of_family(&route.to))
    };
    // Modules of tunnels put links that are down into every namespace (`fb_tunnels_only_for_init_net`).
    let links = end.netns.links.values().filter(|link| link.kind != LinkKind::Loopback);
    let links = links.filter(|link| link.admin_up || link.index == end.link.index);
    if end.serves_another() || links.count() != 1 || has_default(end.netns) {
        return None;
    }
    let entry = host_entry(case, end).filter(|entry| !leaves_by(case.snapshot, entry, end))?;
    let own: Vec<_> = end.addresses().filter(of_family).collect();
    let near = |net: &IpNet| own.is_empty() || own.iter().any(|own| own.contains(&net.addr()));
    let gateway = entry.addresses().filter(of_family).find(near)?.addr();
    let senders = case.senders.get(&(entry.id.netns, ipv4))?;
    let mut others = senders.iter().filter(|it| it.end.netns != end.id.netns);
    if let Some(sender) = others.clone().find(|it| it.entry != entry.id) {
        return Some(WayOut { gateway, sender: *sender, to: sender.address });
    }
    let to = leads_to(&entry, ipv4)?;
    others.next().map(|sender| WayOut { gateway, sender: *sender, to })
}

/// By whom a host itself sends to others, on a link that its containers do not hang on.
fn leads_to(entry: &End<'_>, ipv4: bool) -> Option<IpAddr> {
    let routes = entry.netns.routes.iter().filter(|route| route.to.addr().is_ipv4() == ipv4);
    let mut routes = routes.filter(|route| route.is_default() && route.dev != entry.id.ifindex);
    let of_family = |via: &IpAddr| via.is_ipv4() == ipv4 && !is_link_local(*via);
    routes.find_map(|route| route.via.filter(of_family))
}

/// Whether a host itself sends to others by an end: then that leads out, and is no container.
fn leaves_by(snapshot: &Snapshot, entry: &End<'_>, end: &End<'_>) -> bool {
    let Some(host) = snapshot.namespaces.get(&entry.id.netns) else { return true };
    host.routes
        .iter()
        .filter(|route| route.dev == entry.id.ifindex)
        .any(|route| route.is_default() || route.via.is_some_and(|via| end.has(via)))
}

/// The same, where the host forwards and no firewall of it chooses what: then it may be meant so.
#[must_use]
pub fn lacking<'a>(case: &Case<'a>, end: &End<'a>, ipv4: bool) -> Option<WayOut> {
    let wanted = wanted(case, end, ipv4)?;
    let entry = host_entry(case, end)?;
    let facts = case.facts(entry.netns)?;
    let forwards = if ipv4 {
        entry.link.switches.forwards_ipv4
    } else {
        facts.forwards_ipv6 || entry.link.switches.forces_ipv6
    };
    let closes = facts.firewall.chains.iter().any(|it| it.hook == Hook::Forward && it.drops);
    (forwards && !closes && facts.firewall.rules.is_empty()).then_some(wanted)
}

/// The command that makes it.
#[must_use]
pub fn command(case: &Case<'_>, end: &End<'_>, way: &WayOut) -> String {
    let to = if way.gateway.is_ipv4() { "default" } else { "::/0" };
    case.ip(end.netns, &format!("route replace {to} via {} dev {}", way.gateway, end.word()))
}

/// A finding whose mend brings the way back that an end has lost with its state or its address.
#[must_use]
pub fn mended<'a>(case: &Case<'a>, end: &End<'a>, finding: Finding) -> Finding {
    match lacking(case, end, true) {
        Some(way) => finding.mended_by(command(case, end, &way)),
        None => finding,
    }
}
