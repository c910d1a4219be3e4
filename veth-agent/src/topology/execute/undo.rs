//! What takes a step back. Known before the step is taken, from the picture that was planned on.

use std::{collections::BTreeSet, fmt};

use crate::{
    inventory::{Link, Snapshot},
    topology::action::{Action, LinkRef},
    types::{EndId, MacAddr},
};

/// One step back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// A step that undoes another.
    Take(Action),
    /// Give a link its old alias, empty for none.
    Alias {
        /// Which link.
        link: LinkRef,
        /// The old one.
        alias: String,
    },
    /// Give a link its old MTU.
    Mtu {
        /// Which link.
        link: LinkRef,
        /// The old one.
        bytes: u32,
    },
    /// Give a link its old hardware address.
    Mac {
        /// Which link.
        link: LinkRef,
        /// The old one.
        mac: MacAddr,
    },
    /// Take programs off.
    Detach(BTreeSet<EndId>),
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take(action) => action.fmt(f),
            Self::Alias { link, alias } => write!(f, "set the alias {alias:?} of {link}"),
            Self::Mtu { link, bytes } => write!(f, "set the MTU {bytes} of {link}"),
            Self::Mac { link, mac } => write!(f, "set the MAC {mac} of {link}"),
            Self::Detach(ends) => write!(f, "take the programs off {} ends", ends.len()),
        }
    }
}

/// What undoes `action`. Nothing for settings of links that are new, since those go altogether,
/// and for steps that note their own undoing while they are taken.
pub fn inverse(action: &Action, seen: &Snapshot) -> Option<Undo> {
    match action {
        Action::CreateNetns(name) => Some(Undo::Take(Action::DeleteNetns(name.clone()))),
        Action::Mark { link, .. } => {
            let alias = find(seen, link)?.alias.clone().unwrap_or_default();
            Some(Undo::Alias { link: link.clone(), alias })
        }
        Action::SetMtu { link, .. } => {
            Some(Undo::Mtu { link: link.clone(), bytes: find(seen, link)?.mtu })
        }
        Action::SetMac { link, .. } => {
            Some(Undo::Mac { link: link.clone(), mac: find(seen, link)?.mac? })
        }
        Action::AddAddress { link, address } => {
            let (link, address) = (link.clone(), *address);
            find(seen, &link)?;
            Some(Undo::Take(Action::RemoveAddress { link, address }))
        }
        Action::RemoveAddress { link, address } => {
            let (link, address) = (link.clone(), *address);
            Some(Undo::Take(Action::AddAddress { link, address }))
        }
        Action::SetBridge { link, .. } => {
            let bridge = old_bridge(seen, link)?;
            Some(Undo::Take(Action::SetBridge { link: link.clone(), bridge }))
        }
        Action::SetUp { link, .. } => {
            let up = find(seen, link)?.admin_up;
            Some(Undo::Take(Action::SetUp { link: link.clone(), up }))
        }
        Action::AddRoute { link, route } => {
            let (link, route) = (link.clone(), route.clone());
            find(seen, &link)?;
            Some(Undo::Take(Action::RemoveRoute { link, route }))
        }
        Action::RemoveRoute { link, route } => {
            let (link, route) = (link.clone(), route.clone());
            Some(Undo::Take(Action::AddRoute { link, route }))
        }
        Action::CreateBridge { .. }
        | Action::MarkBridge(_)
        | Action::CreatePair { .. }
        | Action::Attach { .. }
        | Action::DeletePair { .. }
        | Action::DeleteBridge(_)
        | Action::DeleteNetns(_) => None,
    }
}

fn find<'a>(seen: &'a Snapshot, link: &LinkRef) -> Option<&'a Link> {
    let netns = match &link.place {
        None => seen.namespaces.get(&seen.host)?,
        Some(name) => seen.netns_named(name.as_str())?,
    };
    netns.link_named(link.name.as_str())
}

/// The bridge that a link was a port of, `Some(None)` for none.
fn old_bridge(seen: &Snapshot, link: &LinkRef) -> Option<Option<crate::types::IfName>> {
    let Some(master) = find(seen, link)?.master else { return Some(None) };
    let netns = match &link.place {
        None => seen.host,
        Some(name) => seen.netns_named(name.as_str())?.cookie,
    };
    let master = seen.link(EndId { netns, ifindex: master })?;
    Some(Some(master.name.parse().ok()?))
}
