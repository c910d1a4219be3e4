//! A picture of all network namespaces at one moment. Plain data.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use serde::Serialize;

use crate::types::{EndId, IfIndex, MacAddr, NetnsCookie};

/// What the agent's own namespace is called.
pub const HOST: &str = "host";

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The agent's own namespace.
    pub host: NetnsCookie,
    /// All namespaces that could be entered, `host` among them.
    pub namespaces: BTreeMap<NetnsCookie, Namespace>,
    /// The other end of each end that was joined to one.
    pub peers: BTreeMap<EndId, EndId>,
    /// What could not be looked into, and why.
    pub unseen: Vec<Unseen>,
}

/// A namespace that is known to exist and could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Where it was found.
    pub path: PathBuf,
    /// Why it could not be read, in one line.
    pub reason: String,
}

/// One network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity.
    pub cookie: NetnsCookie,
    /// Inode in nsfs, as in `net:[4026531840]`; reused by the kernel.
    pub inode: u64,
    /// File names under `/run/netns`, sorted. Empty where it has none.
    pub names: Vec<String>,
    /// A file that leads into it.
    pub path: PathBuf,
    /// Number by which the host's namespace knows it, where it has one.
    pub nsid: Option<i32>,
    /// Its links.
    pub links: BTreeMap<IfIndex, Link>,
    /// Routes of its main table.
    pub routes: Vec<Route>,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index inside the namespace.
    pub index: IfIndex,
    /// Name, as the kernel has it.
    pub name: String,
    /// What kind of device it is.
    pub kind: LinkKind,
    /// Hardware address of an Ethernet device.
    pub mac: Option<MacAddr>,
    /// Bytes.
    pub mtu: u32,
    /// `IFF_UP`.
    pub admin_up: bool,
    /// `IFLA_CARRIER`.
    pub carrier: bool,
    /// `IFLA_OPERSTATE`.
    pub state: OperState,
    /// `IFLA_IFALIAS`.
    pub alias: Option<String>,
    /// A bridge that `apply` has made and not marked yet.
    pub newborn: bool,
    /// The bridge (or other master) that it is a port of.
    pub master: Option<IfIndex>,
    /// How it is a port of a bridge.
    pub port: Option<Port>,
    /// A bridge that sorts frames by VLAN.
    pub vlan_filtering: bool,
    /// A bridge that runs a spanning tree.
    pub stp: bool,
    /// `IFLA_QDISC`: kind of the root queueing discipline.
    pub qdisc: Option<String>,
    /// It asks for MACs; without, `IFF_NOARP`.
    pub arp: bool,
    /// `IFLA_LINK` of a link that is no end: the one in this namespace that it stands on.
    pub lower: Option<IfIndex>,
    /// How it wraps packets up.
    pub tunnel: Option<Tunnel>,
    /// Its switches, of both families of IP.
    pub switches: Switches,
    /// Id of the XDP program that is attached, whoever's.
    pub xdp: Option<u32>,
    /// The other end of a pair.
    pub peer: Option<PeerRef>,
    /// IPv4 and IPv6 addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Addresses that the kernel does not use, since somebody else on the link has them (RFC 4862, 5.4).
    pub duplicates: Vec<IpAddr>,
}

/// Kinds of device that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A veth end.
    Veth,
    /// A netkit end.
    Netkit,
    /// A bridge.
    Bridge,
    /// The loopback device.
    Loopback,
    /// Anything else: `IFLA_INFO_KIND`, empty for a physical device.
    Other(String),
}

impl LinkKind {
    /// Whether devices of this kind come in pairs.
    #[must_use]
    pub const fn is_paired(&self) -> bool {
        matches!(self, Self::Veth | Self::Netkit)
    }
}

/// A port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// What the spanning tree, or a missing carrier, lets it do.
    pub state: PortState,
    /// It talks to no other isolated port.
    pub isolated: bool,
    /// It is sent no broadcasts.
    pub no_broadcasts: bool,
}

/// `BR_STATE_*`, `include/uapi/linux/if_bridge.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Takes nothing: no carrier, or somebody said so.
    Disabled,
    /// Listens to the spanning tree.
    Listening,
    /// Learns addresses, and does not forward yet.
    Learning,
    /// Forwards.
    Forwarding,
    /// The spanning tree needs it closed.
    Blocking,
}

impl PortState {
    /// The word that `bridge link` has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        }
    }
}

impl Port {
    /// Whether it forwards.
    #[must_use]
    pub fn forwarding(&self) -> bool {
        self.state == PortState::Forwarding
    }
}

/// `net.ipv4.conf.IF` and `net.ipv6.conf.IF`, as they were when the link was read: a change of them is no
/// event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// IPv4 packets that arrive are forwarded.
    pub forwards_ipv4: bool,
    /// IPv6 packets that arrive are forwarded although the namespace forwards none (`force_forwarding`, since
    /// Linux 6.17).
    pub forces_ipv6: bool,
    /// `rp_filter`; the namespace has one for all links, and the larger one counts.
    pub rp_filter: u8,
    /// IPv6 is switched off.
    pub ipv6_disabled: bool,
    /// `arp_ignore`; the namespace has one for all links, and the larger one counts.
    pub arp_ignore: u8,
    /// It answers ARP for addresses of others.
    pub proxy_arp: bool,
    /// It answers neighbour discovery for addresses of others.
    pub proxy_ndp: bool,
}

/// How a link wraps packets up to send them by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Bytes that it puts around a packet, at the least: what the link below it must take more.
    pub overhead: u32,
    /// Where it sends them, where that is one place.
    pub remote: Option<IpAddr>,
}

/// Where the other end of a pair is, as this end's namespace tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRef {
    /// `IFLA_LINK`: index in the peer's namespace.
    pub ifindex: IfIndex,
    /// `IFLA_LINK_NETNSID`: the peer's namespace as this one numbers it; `None` is the same one.
    pub nsid: Option<i32>,
}

/// RFC 2863 operational state, as `IFLA_OPERSTATE` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperState {
    /// Carries packets.
    Up,
    /// Does not.
    Down,
    /// Does not, because what it stands on does not.
    LowerLayerDown,
    /// Waits for something, such as authentication.
    Dormant,
    /// The driver does not tell, or tells something else.
    Unknown,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and prefix length.
    pub net: IpNet,
    /// `IFA_PROTO` says that `apply` set it.
    pub ours: bool,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; `0.0.0.0/0` or `::/0` for the default.
    pub to: IpNet,
    /// Next hop, where there is one; an IPv4 route may have one of IPv6 (RFC 5549).
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Priority; 0 where the kernel names none.
    pub metric: u32,
    /// The largest packet that it takes, where it says so.
    pub mtu: Option<u32>,
    /// Outgoing interface.
    pub dev: IfIndex,
    /// What else it has, as words of `ip route`, each after a space; `None` where it cannot be written
    /// again by these.
    pub rest: Option<String>,
    /// The route's protocol says that `apply` set it.
    pub ours: bool,
}

impl Snapshot {
    /// The link that `end` names.
    #[must_use]
    pub fn link(&self, end: EndId) -> Option<&Link> {
        self.namespaces.get(&end.netns)?.links.get(&end.ifindex)
    }

    /// Name of the bridge that `end` is a port of.
    #[must_use]
    pub fn bridge_of(&self, end: EndId) -> Option<&str> {
        let master = self.link(end)?.master?;
        let master = self.link(EndId { netns: end.netns, ifindex: master })?;
        (master.kind == LinkKind::Bridge).then_some(master.name.as_str())
    }

    /// The other end of `end`, where it was seen.
    #[must_use]
    pub fn peer_of(&self, end: EndId) -> Option<EndId> {
        self.peers.get(&end).copied()
    }

    /// The namespace with a file `name` under `/run/netns`.
    #[must_use]
    pub fn netns_named(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.values().find(|netns| netns.names.iter().any(|known| known == name))
    }
}

impl Route {
    /// Whether it is for all that no other is for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    /// Whom packets that follow it are handed to: its next hop, or its destination where that is one address.
    #[must_use]
    pub fn hop(&self) -> Option<IpAddr> {
        let whole = self.to.prefix_len() == self.to.max_prefix_len();
        self.via.or_else(|| whole.then(|| self.to.addr()))
    }

    /// Whether it is for link-local addresses or multicast alone, which every link has.
    #[must_use]
    pub fn is_of_the_link(&self) -> bool {
        match self.to {
            IpNet::V4(to) => to.addr().is_multicast() || to.addr().is_link_local(),
            IpNet::V6(to) => to.addr().is_multicast() || to.addr().is_unicast_link_local(),
        }
    }
}

impl Namespace {
    /// Identity of one of its links.
    #[must_use]
    pub const fn end(&self, ifindex: IfIndex) -> EndId {
        EndId { netns: self.cookie, ifindex }
    }

    /// The name that people and metrics know it by: `host` for the agent's own, the file's name
    /// under `/run/netns`, else `net:[INODE]`. A file whose name could be taken for one of the
    /// other two forms is given with its path.
    #[must_use]
    pub fn label(&self, host: NetnsCookie) -> String {
        if self.cookie == host {
            return HOST.to_owned();
        }
        match self.names.first() {
            Some(name) if name == HOST || name.starts_with("net:[") => {
                format!("{}/{name}", crate::netns::RUN_NETNS)
            }
            Some(name) => name.clone(),
            None => format!("net:[{}]", self.inode),
        }
    }

    /// The link called `name`.
    #[must_use]
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }
}
