//! Indexes of links, so that a name is looked up once.

use std::collections::HashMap;

use crate::{inventory::Snapshot, topology::action::LinkRef, types::IfIndex};

/// What is known of links by name.
pub struct Links(HashMap<LinkRef, IfIndex>);

impl Links {
    /// The links of a picture that a plan can name.
    pub fn of(seen: &Snapshot) -> Self {
        let places = seen.namespaces.values().flat_map(|netns| {
            let own = (netns.cookie == seen.host).then_some((netns, None));
            let named = netns.names.iter().filter_map(|name| name.parse().ok());
            own.into_iter().chain(named.map(move |name| (netns, Some(name))))
        });
        let links = places.flat_map(|(netns, place)| {
            netns.links.values().filter_map(move |link| {
                let name = link.name.parse().ok()?;
                Some((LinkRef { place: place.clone(), name }, link.index))
            })
        });
        Self(links.collect())
    }

    pub fn index(&self, link: &LinkRef) -> Option<IfIndex> {
        self.0.get(link).copied()
    }

    pub fn learn(&mut self, link: &LinkRef, index: IfIndex) {
        if !self.0.contains_key(link) {
            self.0.insert(link.clone(), index);
        }
    }

    pub fn forget(&mut self, link: &LinkRef) {
        self.0.remove(link);
    }
}
