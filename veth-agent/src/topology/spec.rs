//! A checked topology: what is wanted. Made only by `validate`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::types::{Datapath, IfName, MacAddr, Mtu, NetnsName, PairName};

/// Where a link is wanted: `None` is the agent's own namespace.
pub type Place = Option<NetnsName>;

/// All that a file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Namespaces to create where absent.
    pub namespaces: Vec<NetnsName>,
    /// Bridges to create where absent.
    pub bridges: Vec<BridgeSpec>,
    /// Pairs to create where absent.
    pub pairs: Vec<PairSpec>,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its namespace.
    pub place: Place,
    /// Its name.
    pub name: IfName,
    /// Address, MTU and MAC.
    pub settings: LinkSettings,
}

/// A pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSpec {
    /// Its name.
    pub name: PairName,
    /// How its packets travel.
    pub datapath: Datapath,
    /// Accelerate in spite of what redirecting would skip.
    pub force: bool,
    /// Its two ends.
    pub ends: [EndSpec; 2],
}

/// One end of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndSpec {
    /// Its namespace.
    pub place: Place,
    /// Its name there.
    pub interface: IfName,
    /// Address, MTU and MAC.
    pub settings: LinkSettings,
    /// The bridge in the same namespace that it is a port of.
    pub bridge: Option<IfName>,
    /// Routes through it.
    pub routes: Vec<RouteSpec>,
}

/// What bridges and ends have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Addresses with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Left as it is where absent.
    pub mtu: Option<Mtu>,
    /// Left as it is where absent.
    pub mac: Option<MacAddr>,
    /// Administratively up.
    pub up: bool,
}

/// A route through an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Destination; all zero for `default`, of the family of `via`.
    pub to: IpNet,
    /// Next hop.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Priority; 0 leaves it to the kernel.
    pub metric: u32,
}
