//! Bridges and what hangs on them.

use super::{Link, LinkKind, Namespace, Snapshot};
use crate::types::EndId;

/// A bridge with its ports.
#[derive(Clone, Debug)]
pub struct Bridge<'a> {
    /// The namespace that it lies in.
    pub netns: &'a Namespace,
    /// The bridge itself.
    pub link: &'a Link,
    /// Ports that are ends of pairs.
    pub ends: Vec<&'a Link>,
    /// Other ports: beyond them is what nobody here sees.
    pub others: Vec<&'a Link>,
}

impl<'a> Bridge<'a> {
    /// Identity of the bridge.
    #[must_use]
    pub const fn id(&self) -> EndId {
        self.netns.end(self.link.index)
    }

    /// All ports.
    pub fn ports(&self) -> impl Iterator<Item = &'a Link> {
        self.ends.iter().chain(&self.others).copied()
    }

    /// The far ends of its ports, as far as they were seen, each with its port.
    pub fn far_ends(&self, snapshot: &'a Snapshot) -> impl Iterator<Item = (&'a Link, EndId)> {
        let far = |port: &&'a Link| Some((*port, snapshot.peer_of(self.netns.end(port.index))?));
        self.ends.iter().filter_map(far)
    }
}

impl Snapshot {
    /// All bridges of all namespaces.
    #[must_use]
    pub fn bridges(&self) -> Vec<Bridge<'_>> {
        self.namespaces.values().flat_map(in_namespace).collect()
    }
}

fn in_namespace(netns: &Namespace) -> Vec<Bridge<'_>> {
    let is_bridge = |link: &&Link| link.kind == LinkKind::Bridge;
    let mut bridges: Vec<_> = netns
        .links
        .values()
        .filter(is_bridge)
        .map(|link| Bridge { netns, link, ends: Vec::new(), others: Vec::new() })
        .collect();
    for link in netns.links.values() {
        let Some(master) = link.master else { continue };
        if let Some(bridge) = bridges.iter_mut().find(|bridge| bridge.link.index == master) {
            let ports = if link.kind.is_paired() { &mut bridge.ends } else { &mut bridge.others };
            ports.push(link);
        }
    }
    bridges
}
