//! Which hooks of which ends a trace looks at.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Direction;
use crate::{
    datapath::HookName,
    inventory::{LinkKind, Namespace, Snapshot},
    types::EndId,
};

/// What was asked for; an empty list asks for all. Within a list or, between lists and.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names of interfaces.
    pub interfaces: Vec<String>,
    /// Names of namespaces, as `list` has them.
    pub namespaces: Vec<String>,
    /// From the end's own point of view.
    pub directions: Vec<Direction>,
}

/// Why there is nothing to look at.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SelectError {
    /// No such namespace.
    #[error("no network namespace {0:?} is seen; `veth-agent list` shows those that have a pair")]
    Namespace(String),
    /// No such end.
    #[error("no end of a pair is called {0:?}{where_}; `veth-agent list` shows them", where_ = .1)]
    Interface(String, String),
    /// No end there.
    #[error("no end of a pair is in {0}; `veth-agent list` shows them")]
    Empty(String),
    /// No pair at all.
    #[error("there is no pair to trace; `veth-agent list` shows what there is")]
    Nothing,
}

/// The hooks to look at.
///
/// # Errors
/// When a name fits nothing: a trace that can see nothing is a mistake.
pub fn select(
    snapshot: &Snapshot,
    selection: &Selection,
) -> Result<BTreeMap<EndId, Vec<HookName>>, SelectError> {
    let known = |name: &String| {
        let mut namespaces = snapshot.namespaces.values();
        namespaces.any(|netns| is_called(snapshot, netns, name))
    };
    if let Some(unknown) = selection.namespaces.iter().find(|name| !known(name)) {
        return Err(SelectError::Namespace(unknown.clone()));
    }
    let ends: Vec<_> = snapshot.ends().filter(|end| is_in(snapshot, selection, *end)).collect();
    if ends.is_empty() && !selection.namespaces.is_empty() && selection.interfaces.is_empty() {
        return Err(SelectError::Empty(selection.namespaces.join(", ")));
    }
    let names = |end: &EndId| snapshot.link(*end).map(|link| link.name.as_str());
    for wanted in &selection.interfaces {
        if !ends.iter().any(|end| names(end) == Some(wanted)) {
            let within = match selection.namespaces.as_slice() {
                [] => String::new(),
                some => format!(" in {}", some.join(", ")),
            };
            return Err(SelectError::Interface(wanted.clone(), within));
        }
    }
    let chosen = |end: &EndId| {
        selection.interfaces.is_empty()
            || names(end).is_some_and(|name| selection.interfaces.iter().any(|it| it == name))
    };
    let hooks = hooks(&selection.directions);
    let wanted: BTreeMap<_, _> =
        ends.into_iter().filter(chosen).map(|end| (end, hooks.clone())).collect();
    if wanted.is_empty() { Err(SelectError::Nothing) } else { Ok(wanted) }
}

/// Where packets may be lost: at ends, and at the bridges behind them, which leave no trace of the port that a packet
/// came by. Watched are the chosen ends; with those of whole namespaces, their bridges, too.
#[must_use]
pub fn drop_places(
    snapshot: &Snapshot,
    selection: &Selection,
    chosen: &BTreeMap<EndId, Vec<HookName>>,
) -> BTreeMap<EndId, bool> {
    let mut places = BTreeMap::new();
    for end in snapshot.ends() {
        let is_chosen = chosen.contains_key(&end);
        places.insert(end, is_chosen);
        if let Some(bridge) = bridge_of(snapshot, end) {
            *places.entry(bridge).or_default() |= is_chosen && selection.interfaces.is_empty();
        }
    }
    places
}

/// The bridge that an end is a port of.
#[must_use]
pub fn bridge_of(snapshot: &Snapshot, end: EndId) -> Option<EndId> {
    let ifindex = snapshot.link(end)?.master?;
    let bridge = EndId { netns: end.netns, ifindex };
    (snapshot.link(bridge)?.kind == LinkKind::Bridge).then_some(bridge)
}

fn is_in(snapshot: &Snapshot, selection: &Selection, end: EndId) -> bool {
    let Some(netns) = snapshot.namespaces.get(&end.netns) else { return false };
    selection.namespaces.is_empty()
        || selection.namespaces.iter().any(|name| is_called(snapshot, netns, name))
}

/// Whether people may mean this namespace by a name: its label, or any of its files'.
fn is_called(snapshot: &Snapshot, netns: &Namespace, name: &str) -> bool {
    netns.label(snapshot.host) == name || netns.names.iter().any(|own| own == name)
}

fn hooks(directions: &[Direction]) -> Vec<HookName> {
    let asked = |direction| directions.is_empty() || directions.contains(&direction);
    let hooks = [(Direction::In, HookName::Ingress), (Direction::Out, HookName::Egress)];
    hooks.into_iter().filter(|(direction, _)| asked(*direction)).map(|(_, hook)| hook).collect()
}
