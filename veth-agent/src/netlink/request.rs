//! What the executor asks of the kernel, one function a request.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressProtocol},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    nsid::NsidAttribute,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
    tc::{TcAttribute, TcHandle, TcMessage},
};

use super::{Connection, NetlinkError, dump::nsid_request};
use crate::{
    mark,
    topology::spec::RouteSpec,
    types::{IfIndex, IfName, MacAddr, Mtu},
};

/// `IFA_PROTO` of addresses that `apply` set; the kernel uses 1 to 3 (`linux/if_addr.h`).
pub const ADDRESS_PROTOCOL: u8 = 0x76;
/// `rtm_protocol` of routes that `apply` set; see `rt_protos` of iproute2 for those taken.
pub const ROUTE_PROTOCOL: u8 = 0x76;

/// An end of a pair that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    /// The namespace to be born in.
    pub netns: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a IfName,
    /// MTU to be born with.
    pub mtu: Option<Mtu>,
    /// MAC to be born with.
    pub mac: Option<MacAddr>,
}

impl VethEnd<'_> {
    fn attributes(&self) -> Vec<LinkAttribute> {
        let mut attributes = vec![
            LinkAttribute::IfName(self.name.to_string()),
            LinkAttribute::NetNsFd(self.netns.as_raw_fd()),
        ];
        attributes.extend(birth(self.mtu, self.mac));
        attributes
    }
}

fn birth(mtu: Option<Mtu>, mac: Option<MacAddr>) -> impl Iterator<Item = LinkAttribute> {
    let mtu = mtu.map(|mtu| LinkAttribute::Mtu(mtu.bytes()));
    let mac = mac.map(|mac| LinkAttribute::Address(mac.0.to_vec()));
    mtu.into_iter().chain(mac)
}

impl Connection {
    /// Makes a veth pair, both ends at once in their namespaces, or nothing.
    ///
    /// # Errors
    /// The kernel's refusal; `EEXIST` where a name is taken.
    pub async fn add_veth(&self, ends: [VethEnd<'_>; 2]) -> Result<(), NetlinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes = ends[1].attributes();
        let mut link = LinkMessage::default();
        link.attributes = ends[0].attributes();
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.add_link(link).await
    }

    /// Makes a bridge in this namespace, in the group that says that it is ours and not marked yet.
    ///
    /// # Errors
    /// As [`Self::add_veth`].
    pub async fn add_bridge(
        &self,
        name: &IfName,
        mtu: Option<Mtu>,
        mac: Option<MacAddr>,
    ) -> Result<(), NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.to_string()));
        link.attributes.extend(birth(mtu, mac));
        link.attributes.push(LinkAttribute::Group(mark::NEWBORN_GROUP));
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.add_link(link).await
    }

    /// Marks a bridge and puts it into the default group, both at once.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn mark_bridge(&self, link: IfIndex) -> Result<(), NetlinkError> {
        let mut message = message_for(link);
        message.attributes.push(LinkAttribute::IfAlias(mark::BRIDGE.to_owned()));
        message.attributes.push(LinkAttribute::Group(0));
        self.acknowledged(RouteNetlinkMessage::SetLink(message), 0).await
    }

    async fn add_link(&self, link: LinkMessage) -> Result<(), NetlinkError> {
        self.acknowledged(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).await
    }

    /// Deletes a link; the peer of a veth end goes with it.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn delete_link(&self, link: IfIndex) -> Result<(), NetlinkError> {
        self.acknowledged(RouteNetlinkMessage::DelLink(message_for(link)), 0).await
    }

    /// Index of the link called `name`.
    ///
    /// # Errors
    /// `ENODEV` where there is none.
    pub async fn index_of(&self, name: &IfName) -> Result<IfIndex, NetlinkError> {
        use futures_util::TryStreamExt as _;

        let mut request = self.handle.link().get();
        request.message_mut().attributes.push(LinkAttribute::ExtMask(vec![
            netlink_packet_route::link::LinkExtentMask::SkipStats,
        ]));
        let found = request.match_name(name.as_str()).execute().try_next().await?;
        found
            .map(|link| IfIndex(link.header.index))
            .ok_or_else(|| NetlinkError::Broken(format!("no answer about {name}")))
    }

    /// Sets `IFLA_IFALIAS`; an empty one takes it away.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_alias(&self, link: IfIndex, alias: &str) -> Result<(), NetlinkError> {
        self.set_attribute(link, LinkAttribute::IfAlias(alias.to_owned())).await
    }

    /// Sets the MTU.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_mtu(&self, link: IfIndex, bytes: u32) -> Result<(), NetlinkError> {
        self.set_attribute(link, LinkAttribute::Mtu(bytes)).await
    }

    /// Sets the hardware address.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_mac(&self, link: IfIndex, mac: MacAddr) -> Result<(), NetlinkError> {
        self.set_attribute(link, LinkAttribute::Address(mac.0.to_vec())).await
    }

    /// Makes the link a port of `master`, or of nothing.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_master(
        &self,
        link: IfIndex,
        master: Option<IfIndex>,
    ) -> Result<(), NetlinkError> {
        let master = master.map_or(0, |master| master.0);
        self.set_attribute(link, LinkAttribute::Controller(master)).await
    }

    async fn set_attribute(
        &self,
        link: IfIndex,
        attribute: LinkAttribute,
    ) -> Result<(), NetlinkError> {
        let mut message = message_for(link);
        message.attributes.push(attribute);
        self.acknowledged(RouteNetlinkMessage::SetLink(message), 0).await
    }

    /// Sets `IFF_UP`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_up(&self, link: IfIndex, up: bool) -> Result<(), NetlinkError> {
        let mut message = message_for(link);
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        self.acknowledged(RouteNetlinkMessage::SetLink(message), 0).await
    }

    /// Adds an address, marked as ours.
    ///
    /// # Errors
    /// `EEXIST` where it is there already.
    pub async fn add_address(&self, link: IfIndex, address: IpNet) -> Result<(), NetlinkError> {
        let mut message = address_message(link, address);
        message
            .attributes
            .push(AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL)));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.acknowledged(RouteNetlinkMessage::NewAddress(message), flags).await
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` where it is not there.
    pub async fn delete_address(&self, link: IfIndex, address: IpNet) -> Result<(), NetlinkError> {
        let message = address_message(link, address);
        self.acknowledged(RouteNetlinkMessage::DelAddress(message), 0).await
    }

    /// Adds a route of the main table through `link`, marked as ours.
    ///
    /// # Errors
    /// `EEXIST` where it is there already; `ENETUNREACH` where the next hop is not on a link.
    pub async fn add_route(&self, link: IfIndex, route: &RouteSpec) -> Result<(), NetlinkError> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.acknowledged(RouteNetlinkMessage::NewRoute(route_message(link, route)), flags).await
    }

    /// Takes a route that `apply` set away.
    ///
    /// # Errors
    /// `ESRCH` where it is not there.
    pub async fn delete_route(&self, link: IfIndex, route: &RouteSpec) -> Result<(), NetlinkError> {
        self.acknowledged(RouteNetlinkMessage::DelRoute(route_message(link, route)), 0).await
    }

    /// Asks for a BPF filter without a program on the ingress of this namespace's loopback, below
    /// the `clsact` that is there.
    ///
    /// # Errors
    /// `EINVAL` where the kernel knows such filters, `ENOENT` where it does not.
    pub async fn add_empty_bpf_filter(&self) -> Result<(), NetlinkError> {
        let mut message = TcMessage::default();
        message.header.index = LOOPBACK;
        message.header.parent = TcHandle { major: 0xffff, minor: TcHandle::MIN_INGRESS };
        // Priority 1, all protocols.
        message.header.info = (1 << 16) | u32::from(ETH_P_ALL.to_be());
        message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.acknowledged(RouteNetlinkMessage::NewTrafficFilter(message), flags).await
    }

    /// Makes a link of a kind with all that the kernel chooses by itself.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the kernel does not know the kind.
    pub async fn add_kind(&self, kind: InfoKind) -> Result<(), NetlinkError> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        self.add_link(link).await
    }

    /// Deletes the `clsact` qdisc of a link, and with it every filter below.
    ///
    /// # Errors
    /// `ENOENT` where it is not there.
    pub async fn delete_clsact(&self, link: IfIndex) -> Result<(), NetlinkError> {
        let mut message = TcMessage::default();
        message.header.index = link.0.cast_signed();
        message.header.parent = CLSACT;
        self.acknowledged(RouteNetlinkMessage::DelQueueDiscipline(message), 0).await
    }

    /// Lets this namespace number the one behind `netns`, so that its events are heard here.
    ///
    /// # Errors
    /// `EEXIST` where it has a number.
    pub async fn assign_nsid(&self, netns: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        let mut message = nsid_request(netns);
        message.attributes.push(NsidAttribute::Id(-1));
        self.acknowledged(RouteNetlinkMessage::NewNsId(message), 0).await
    }
}

/// Index of the loopback in every namespace.
const LOOPBACK: i32 = 1;

/// All protocols (`linux/if_ether.h`).
const ETH_P_ALL: u16 = 3;

/// `TC_H_CLSACT`, parent of the qdisc itself.
pub const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };

fn message_for(link: IfIndex) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = link.0;
    message
}

fn family_of(address: &IpNet) -> AddressFamily {
    match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

fn address_message(link: IfIndex, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(&address);
    message.header.index = link.0;
    message.header.prefix_len = address.prefix_len();
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    if let IpNet::V4(net) = address
        && net.prefix_len() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    message
}

fn route_message(link: IfIndex, route: &RouteSpec) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(&route.to);
    message.header.destination_prefix_length = route.to.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (route.via, route.to) {
        // As iproute2: a destination without a next hop is on the link itself.
        (None, IpNet::V4(_)) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    message.attributes.push(RouteAttribute::Oif(link.0));
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.to.network().into()));
    }
    if let Some(via) = route.via {
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(via)));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
    }
    if route.metric > 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}
