//! Steps of a plan, as data. Links are named, not numbered: a plan may speak of links that an
//! earlier step will make.

use std::fmt;

use ipnet::IpNet;

use super::spec::{Place, RouteSpec};
use crate::{
    mark::PairMark,
    types::{IfName, MacAddr, Mtu, NetnsName},
};

/// A link by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkRef {
    /// Its namespace.
    pub place: Place,
    /// Its name.
    pub name: IfName,
}

/// An end that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnd {
    /// Where, and under which name.
    pub link: LinkRef,
    /// MTU to be born with.
    pub mtu: Option<Mtu>,
    /// MAC to be born with.
    pub mac: Option<MacAddr>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a namespace, marked, its loopback up.
    CreateNetns(NetnsName),
    /// Make a bridge, marked, still down.
    CreateBridge {
        /// Where, and under which name.
        link: LinkRef,
        /// MTU to be born with.
        mtu: Option<Mtu>,
        /// MAC to be born with.
        mac: Option<MacAddr>,
    },
    /// Mark a bridge of ours whose maker was killed before it could.
    MarkBridge(LinkRef),
    /// Make a pair, both ends in their places, marked, still down.
    CreatePair {
        /// The mark of both ends.
        mark: PairMark,
        /// The ends.
        ends: [NewEnd; 2],
    },
    /// Set the alias of an end of a pair that is there already.
    Mark {
        /// The end.
        link: LinkRef,
        /// Its new mark.
        mark: PairMark,
    },
    /// Put our programs on both ends of a pair; nothing happens where they are.
    Attach {
        /// The ends.
        ends: [LinkRef; 2],
    },
    /// Set the MTU.
    SetMtu {
        /// Of which link.
        link: LinkRef,
        /// The new one.
        mtu: Mtu,
    },
    /// Set the hardware address.
    SetMac {
        /// Of which link.
        link: LinkRef,
        /// The new one.
        mac: MacAddr,
    },
    /// Add an address.
    AddAddress {
        /// To which link.
        link: LinkRef,
        /// Which.
        address: IpNet,
    },
    /// Take away an address that an earlier `apply` set.
    RemoveAddress {
        /// From which link.
        link: LinkRef,
        /// Which.
        address: IpNet,
    },
    /// Make the link a port of a bridge, or of none.
    SetBridge {
        /// Which link.
        link: LinkRef,
        /// The bridge, in the link's namespace.
        bridge: Option<IfName>,
    },
    /// Set the link up or down.
    SetUp {
        /// Which link.
        link: LinkRef,
        /// Up, else down.
        up: bool,
    },
    /// Add a route through the link.
    AddRoute {
        /// Which link.
        link: LinkRef,
        /// Which route.
        route: RouteSpec,
    },
    /// Take away a route that an earlier `apply` set.
    RemoveRoute {
        /// Through which link.
        link: LinkRef,
        /// Which route.
        route: RouteSpec,
    },
    /// Take our programs off an end, then delete it; its peer goes with it.
    DeletePair {
        /// The ends that are there.
        ends: Vec<LinkRef>,
    },
    /// Delete a bridge.
    DeleteBridge(LinkRef),
    /// Delete a namespace.
    DeleteNetns(NetnsName),
}

impl fmt::Display for LinkRef {
    /// `interface "tap1" in namespace "orange"`, as messages have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(netns) => write!(f, "namespace {:?}: interface {}", netns.as_str(), self.name),
            None => write!(f, "interface {}", self.name),
        }
    }
}
