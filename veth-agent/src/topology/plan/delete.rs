//! The plan of `delete`.

use std::collections::HashSet;

use super::{
    Once, Plan, link,
    pair::{self, in_words},
    view::{self, Found, Site, View},
};
use crate::{
    inventory::{Link, LinkKind, Namespace, Snapshot},
    mark,
    topology::{
        action::{Action, LinkRef},
        spec::{BridgeSpec, PairSpec, Place, Topology},
    },
    types::{EndId, IfIndex, NetnsName},
};

/// Devices that the kernel puts into every new namespace once their module is loaded
/// (`net.core.fb_tunnels_only_for_init_net`).
const FALLBACK_TUNNELS: [&str; 9] =
    ["tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];

/// Plans the removal of what is `wanted` and carries our mark. What does not, and what still holds
/// something that the file does not declare, stays and is mentioned.
pub fn delete(wanted: &Topology, seen: &Snapshot) -> Plan {
    let mut planner = Planner::new(wanted, seen);
    wanted.pairs.iter().for_each(|pair| planner.pair(pair));
    wanted.bridges.iter().for_each(|bridge| planner.bridge(bridge));
    wanted.namespaces.iter().for_each(|name| planner.namespace(name));
    let Planner { actions, notes, left, .. } = planner;
    Plan { actions, notes: notes.0, left: left.0 }
}

struct Planner<'a> {
    view: View<'a>,
    /// Links that the steps so far take away.
    doomed: HashSet<EndId>,
    actions: Vec<Action>,
    notes: Once<String>,
    left: Once<String>,
}

impl<'a> Planner<'a> {
    fn new(wanted: &'a Topology, seen: &'a Snapshot) -> Self {
        Self {
            view: View::new(wanted, seen),
            doomed: HashSet::new(),
            actions: Vec::new(),
            notes: Once::default(),
            left: Once::default(),
        }
    }

    /// The namespace at `place`; one that could not be looked into is left.
    fn netns(&mut self, place: &Place) -> Option<&'a Namespace> {
        match self.view.site(place) {
            Site::There(netns) => Some(netns),
            Site::Unseen(unseen) => {
                self.left.push(view::unseen(unseen));
                None
            }
            Site::ToBe | Site::Missing => None,
        }
    }

    fn end(&mut self, link: LinkRef) -> Option<(LinkRef, Found<'a>)> {
        self.netns(&link.place)?;
        let found = self.view.find(&link)?;
        (found.link.kind == LinkKind::Veth).then_some((link, found))
    }

    fn pair(&mut self, pair: &PairSpec) {
        let ends = pair.ends.each_ref().map(pair::link_ref);
        let there: Vec<_> = ends.into_iter().filter_map(|link| self.end(link)).collect();
        let marked: HashSet<EndId> = there
            .iter()
            .filter(|(_, found)| pair::is_marked(*found, &pair.name))
            .map(|(_, found)| found.id)
            .collect();
        let peers: HashSet<EndId> =
            marked.iter().filter_map(|end| self.view.seen.peer_of(*end)).collect();
        let (ours, others): (Vec<_>, Vec<_>) = there
            .into_iter()
            .partition(|(_, found)| marked.contains(&found.id) || peers.contains(&found.id));
        self.mention_unmarked(pair, &names(others));
        self.doomed.extend(marked.into_iter().chain(peers));
        let ends = names(ours);
        if !ends.is_empty() {
            self.actions.push(Action::DeletePair { ends });
        }
    }

    fn mention_unmarked(&mut self, pair: &PairSpec, links: &[LinkRef]) {
        if !links.is_empty() {
            self.notes.push(format!(
                "pair {:?}: no mark of this pair on {}; left alone",
                pair.name.as_str(),
                in_words(links)
            ));
        }
    }

    fn bridge(&mut self, bridge: &BridgeSpec) {
        let link = LinkRef { place: bridge.place.clone(), name: bridge.name.clone() };
        if self.netns(&bridge.place).is_none() {
            return;
        }
        let Some(found) = self.view.find(&link) else { return };
        if found.link.kind != LinkKind::Bridge {
            self.notes.push(format!("{link} is not a bridge; left alone"));
        } else if found.link.alias.as_deref() != Some(mark::BRIDGE) && !found.link.newborn {
            self.leave_bridge(&link, bridge, found);
        } else if let Some(ports) = self.foreign_ports(found) {
            self.left.push(format!(
                "{link}: {ports} still a port of it and not of this file's making; use `ip link set \
                 INTERFACE nomaster`, then delete again"
            ));
        } else {
            self.doomed.insert(found.id);
            self.actions.push(Action::DeleteBridge(link));
        }
    }

    /// Takes only our addresses off a bridge that was there before.
    fn leave_bridge(&mut self, link: &LinkRef, bridge: &BridgeSpec, found: Found<'a>) {
        let settle = link::take_off(link, &bridge.settings.addresses, found.link);
        self.actions.extend(settle.remove.into_iter().chain(settle.add));
        settle.notes.into_iter().for_each(|note| self.notes.push(note));
        self.notes.push(format!("{link} was there before veth-agent; left alone"));
    }

    fn foreign_ports(&self, bridge: Found<'a>) -> Option<String> {
        let links = bridge.netns.links.values();
        let ports = links.filter(|link| link.master == Some(bridge.link.index));
        self.surviving(bridge.netns, ports.map(|link| (link.index, link.name.as_str())))
    }

    /// The links of `links` that are still there after the steps so far, with a verb.
    fn surviving(
        &self,
        netns: &Namespace,
        links: impl Iterator<Item = (IfIndex, &'a str)>,
    ) -> Option<String> {
        let survives = |ifindex| !self.doomed.contains(&netns.end(ifindex));
        let names: Vec<_> =
            links.filter(|(index, _)| survives(*index)).map(|(_, name)| name).collect();
        match names.as_slice() {
            [] => None,
            [name] => Some(format!("interface {name} is")),
            names => Some(format!("interfaces {} are", names.join(", "))),
        }
    }

    fn namespace(&mut self, name: &NetnsName) {
        let who = format!("namespace {:?}", name.as_str());
        let Some(netns) = self.netns(&Some(name.clone())) else { return };
        let is_mark = |link: &&Link| {
            link.kind == LinkKind::Loopback && link.alias.as_deref() == Some(mark::NETNS)
        };
        if netns.links.values().find(is_mark).is_none() {
            self.notes.push(format!("{who} was there before veth-agent; left alone"));
        } else if let Some(links) = self.foreign_links(netns) {
            self.left.push(format!(
                "{who}: {links} not of this file's making and would go with it; move or delete that \
                 first, then delete again"
            ));
        } else {
            self.actions.push(Action::DeleteNetns(name.clone()));
        }
    }

    fn foreign_links(&self, netns: &'a Namespace) -> Option<String> {
        let links = netns.links.values().filter(|link| {
            link.kind != LinkKind::Loopback && !FALLBACK_TUNNELS.contains(&link.name.as_str())
        });
        self.surviving(netns, links.map(|link| (link.index, link.name.as_str())))
    }
}

fn names(ends: Vec<(LinkRef, Found<'_>)>) -> Vec<LinkRef> {
    ends.into_iter().map(|(link, _)| link).collect()
}
