//! From netlink messages to plain data.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol},
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgePortState, BridgeStpState, InfoBridge,
        InfoBridgePort, InfoData, InfoKind, InfoPortData, LinkAttribute, LinkFlags, LinkInfo,
        LinkLayerType, LinkMessage, LinkXdp, State,
    },
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
    },
};

use super::{
    Address, Link, LinkKind, OperState, PeerRef, Port, PortState, Route, Switches, again, tunnel,
};
use crate::{
    mark::NEWBORN_GROUP,
    netlink::{ADDRESS_PROTOCOL, ROUTE_PROTOCOL},
    types::{IfIndex, MacAddr},
};

/// Reads a link; its addresses come later.
pub fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: IfIndex(message.header.index),
        name: String::new(),
        kind: initial_kind(message.header.link_layer_type),
        mac: None,
        mtu: 0,
        admin_up: flags.contains(LinkFlags::Up),
        carrier: false,
        state: OperState::Unknown,
        alias: None,
        newborn: false,
        master: None,
        port: None,
        vlan_filtering: false,
        stp: false,
        qdisc: None,
        arp: !flags.contains(LinkFlags::Noarp),
        lower: None,
        tunnel: None,
        switches: Switches::default(),
        xdp: None,
        peer: None,
        addresses: Vec::new(),
        duplicates: Vec::new(),
    };
    let mut peer_index = None;
    let mut peer_nsid = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier == 1,
            LinkAttribute::OperState(state) => link.state = oper_state(*state),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Qdisc(kind) => link.qdisc = Some(kind.clone()),
            LinkAttribute::Group(group) => link.newborn = *group == NEWBORN_GROUP,
            LinkAttribute::Controller(master) => link.master = Some(IfIndex(*master)),
            LinkAttribute::Link(peer) => peer_index = Some(IfIndex(*peer)),
            LinkAttribute::LinkNetNsId(nsid) => peer_nsid = Some(*nsid),
            LinkAttribute::Xdp(xdp) => link.xdp = xdp.iter().find_map(xdp_program),
            LinkAttribute::AfSpecUnspec(families) => link.switches = switches(families),
            LinkAttribute::LinkInfo(info) => read_info(&mut link, info),
            _ => {}
        }
    }
    if link.kind.is_paired() {
        link.peer = peer_index.map(|ifindex| PeerRef { ifindex, nsid: peer_nsid });
    } else if peer_nsid.is_none() {
        link.lower = peer_index.filter(|lower| lower.0 != 0 && *lower != link.index);
    }
    link
}

fn switches(families: &[AfSpecUnspec]) -> Switches {
    let mut switches = Switches::default();
    for family in families {
        match family {
            AfSpecUnspec::Inet(ipv4) => {
                for conf in ipv4 {
                    if let AfSpecInet::DevConf(conf) = conf {
                        switches.forwards_ipv4 = conf.forwarding != 0;
                        switches.rp_filter = u8::try_from(conf.rp_filter).unwrap_or(0);
                        switches.arp_ignore = u8::try_from(conf.arp_ignore).unwrap_or(0);
                        switches.proxy_arp = conf.proxy_arp != 0;
                    }
                }
            }
            AfSpecUnspec::Inet6(ipv6) => {
                for conf in ipv6 {
                    if let AfSpecInet6::DevConf(conf) = conf {
                        switches.ipv6_disabled = conf.disable_ipv6 != 0;
                        switches.forces_ipv6 = conf.force_forwarding != 0;
                        switches.proxy_ndp = conf.proxy_ndp != 0;
                    }
                }
            }
            _ => {}
        }
    }
    switches
}

fn read_info(link: &mut Link, info: &[LinkInfo]) {
    for info in info {
        match info {
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => link.port = Some(read_port(port)),
            LinkInfo::Data(InfoData::Bridge(bridge)) => {
                link.vlan_filtering = bridge.contains(&InfoBridge::VlanFiltering(true));
                let off = |setting: &InfoBridge| {
                    matches!(setting, InfoBridge::StpState(BridgeStpState::Disabled))
                };
                link.stp = !bridge.iter().any(off);
            }
            LinkInfo::Data(data) => link.tunnel = tunnel::read(&link.kind, data),
            other => {
                if let Some(kind) = kind(other) {
                    link.tunnel = tunnel::of_kind(&kind);
                    link.kind = kind;
                }
            }
        }
    }
}

fn read_port(attributes: &[InfoBridgePort]) -> Port {
    let state = attributes.iter().find_map(|attribute| match attribute {
        InfoBridgePort::State(state) => Some(port_state(*state)),
        _ => None,
    });
    Port {
        state: state.unwrap_or(PortState::Disabled),
        isolated: attributes.contains(&InfoBridgePort::Isolated(true)),
        no_broadcasts: attributes.contains(&InfoBridgePort::BroadcastFlood(false)),
    }
}

fn port_state(state: BridgePortState) -> PortState {
    match state {
        BridgePortState::Listening => PortState::Listening,
        BridgePortState::Learning => PortState::Learning,
        BridgePortState::Forwarding => PortState::Forwarding,
        BridgePortState::Blocking => PortState::Blocking,
        _ => PortState::Disabled,
    }
}

fn xdp_program(xdp: &LinkXdp) -> Option<u32> {
    match xdp {
        LinkXdp::ProgId(id) if *id != 0 => Some(*id),
        // More than one is there, in different modes.
        LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}

fn initial_kind(layer: LinkLayerType) -> LinkKind {
    match layer {
        LinkLayerType::Loopback => LinkKind::Loopback,
        _ => LinkKind::Other(String::new()),
    }
}

fn kind(info: &LinkInfo) -> Option<LinkKind> {
    let LinkInfo::Kind(kind) = info else { return None };
    Some(match kind {
        InfoKind::Veth => LinkKind::Veth,
        InfoKind::Netkit => LinkKind::Netkit,
        InfoKind::Bridge => LinkKind::Bridge,
        other => LinkKind::Other(other.to_string()),
    })
}

fn oper_state(state: State) -> OperState {
    match state {
        State::Up => OperState::Up,
        State::Down => OperState::Down,
        State::LowerLayerDown => OperState::LowerLayerDown,
        State::Dormant => OperState::Dormant,
        _ => OperState::Unknown,
    }
}

/// Whether the kernel found that somebody else on the link has this address.
pub fn is_duplicate(message: &AddressMessage) -> bool {
    message.header.flags.contains(AddressHeaderFlags::Dadfailed)
}

/// Reads an address, and the link that it belongs to.
pub fn address(message: &AddressMessage) -> Option<(IfIndex, Address)> {
    let mut local = None;
    let mut plain = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => plain = Some(*address),
            AddressAttribute::Protocol(AddressProtocol::Other(protocol)) => {
                ours = *protocol == ADDRESS_PROTOCOL;
            }
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL otherwise.
    let net = IpNet::new(local.or(plain)?, message.header.prefix_len).ok()?;
    Some((IfIndex(message.header.index), Address { net, ours }))
}

/// Reads those routes that [`route`] can read.
#[must_use]
pub fn read_routes(messages: &[RouteMessage]) -> Vec<Route> {
    messages.iter().filter_map(route).collect()
}

/// Reads a unicast route through one interface; others are not ours to judge.
pub fn route(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut to = None;
    let mut via = None;
    let mut source = None;
    let mut metric = 0;
    let mut mtu = None;
    let mut dev = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => via = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => via = Some((*address).into()),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::Oif(ifindex) => dev = Some(IfIndex(*ifindex)),
            _ => {}
        }
    }
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let prefix = message.header.destination_prefix_length;
    Some(Route {
        to: IpNet::new(to.unwrap_or(unspecified), prefix).ok()?,
        via,
        source,
        metric,
        mtu,
        dev: dev?,
        rest: again::words(message),
        ours: message.header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL),
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
