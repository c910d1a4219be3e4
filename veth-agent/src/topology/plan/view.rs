//! A snapshot as plans look at it: by name.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{
    inventory::{Link, Namespace, Snapshot, Unseen},
    topology::{
        action::LinkRef,
        describe,
        spec::{Place, Topology},
    },
    types::{EndId, NetnsCookie, NetnsName},
};

/// A link that is there.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) id: EndId,
    pub(super) link: &'a Link,
    pub(super) netns: &'a Namespace,
}

/// Where a link is wanted.
#[derive(Clone, Copy)]
pub(super) enum Site<'a> {
    There(&'a Namespace),
    /// The plan makes it.
    ToBe,
    /// There, but nobody could look into it.
    Unseen(&'a Unseen),
    Missing,
}

pub(super) struct View<'a> {
    pub(super) seen: &'a Snapshot,
    namespaces: HashMap<&'a str, &'a Namespace>,
    links: HashMap<(NetnsCookie, &'a str), &'a Link>,
    declared: HashSet<&'a NetnsName>,
}

impl<'a> View<'a> {
    pub(super) fn new(wanted: &'a Topology, seen: &'a Snapshot) -> Self {
        let all = seen.namespaces.values();
        let names =
            |netns: &'a Namespace| netns.names.iter().map(move |name| (name.as_str(), netns));
        let links = |netns: &'a Namespace| {
            netns.links.values().map(|link| ((netns.cookie, link.name.as_str()), link))
        };
        Self {
            seen,
            namespaces: all.clone().flat_map(names).collect(),
            links: all.flat_map(links).collect(),
            declared: wanted.namespaces.iter().collect(),
        }
    }

    pub(super) fn site(&self, place: &Place) -> Site<'a> {
        let there = match place {
            Some(name) => self.namespaces.get(name.as_str()).copied(),
            None => self.seen.namespaces.get(&self.seen.host),
        };
        match (there, place) {
            (Some(netns), _) => Site::There(netns),
            (None, Some(name)) => match self.unseen(name) {
                Some(unseen) => Site::Unseen(unseen),
                None if self.declared.contains(name) => Site::ToBe,
                None => Site::Missing,
            },
            (None, None) => Site::Missing,
        }
    }

    fn unseen(&self, name: &NetnsName) -> Option<&'a Unseen> {
        let is_it = |path: &Path| {
            ["/run/netns", "/var/run/netns"]
                .iter()
                .any(|dir| Path::new(dir).join(name.as_str()) == path)
        };
        self.seen.unseen.iter().find(|unseen| is_it(&unseen.path))
    }

    pub(super) fn find(&self, wanted: &LinkRef) -> Option<Found<'a>> {
        let Site::There(netns) = self.site(&wanted.place) else { return None };
        let link = self.links.get(&(netns.cookie, wanted.name.as_str()))?;
        Some(found(netns, link))
    }

    /// Every link of every namespace.
    pub(super) fn all(&self) -> impl Iterator<Item = Found<'a>> {
        let links = |netns: &'a Namespace| netns.links.values().map(|link| found(netns, link));
        self.seen.namespaces.values().flat_map(links)
    }

    /// A link of the snapshot in running text.
    pub(super) fn describe(&self, end: EndId) -> String {
        let Some(netns) = self.seen.namespaces.get(&end.netns) else {
            return format!("interface number {}", end.ifindex);
        };
        let name = netns.links.get(&end.ifindex).map_or("an interface", |link| link.name.as_str());
        match netns.names.first() {
            _ if netns.cookie == self.seen.host => format!("{name} on the host"),
            Some(file) => format!("{name} in {file:?}"),
            None => format!("{name} in net:[{}]", netns.inode),
        }
    }
}

fn found<'a>(netns: &'a Namespace, link: &'a Link) -> Found<'a> {
    Found { id: netns.end(link.index), link, netns }
}

/// Why nothing can be planned in a namespace that could not be looked into.
pub(super) fn unseen(unseen: &Unseen) -> String {
    let path = unseen.path.display();
    let reason = &unseen.reason;
    format!(
        "{path} is there and could not be looked into ({reason}); run as root, or remove that file \
         if nothing uses it"
    )
}

/// The name under which messages speak of an end.
pub(super) fn end_name(pair: &str, nth: usize, link: &LinkRef) -> String {
    format!("pair {pair:?} end {nth} ({})", describe::link(link))
}
