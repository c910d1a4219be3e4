//! What tunnels put around a packet.

use std::net::IpAddr;

use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoVxlan,
};

use super::{LinkKind, Tunnel};

const ETHERNET: u32 = 14;
const IPV4: u32 = 20;
const IPV6: u32 = 40;
/// Of UDP, and of VXLAN (RFC 7348) and Geneve without options (RFC 8926) behind it.
const UDP: u32 = 8;
const VIRTUAL: u32 = 8;
/// GRE without options, and each option of four bytes (RFC 2784, RFC 2890).
const GRE: u32 = 4;
const GRE_OPTION: u32 = 4;
/// Header and tag of a data message of WireGuard.
const WIREGUARD: u32 = 32;

/// A tunnel whose kind tells all; the packet's own family decides between IPv4 and IPv6 otherwise, and
/// the smaller one counts.
pub fn of_kind(kind: &LinkKind) -> Option<Tunnel> {
    let LinkKind::Other(kind) = kind else { return None };
    let overhead = match kind.as_str() {
        "vxlan" | "geneve" => IPV4 + UDP + VIRTUAL + ETHERNET,
        "ipip" | "sit" => IPV4,
        "ip6tnl" => IPV6,
        "gre" => IPV4 + GRE,
        "gretap" => IPV4 + GRE + ETHERNET,
        "ip6gre" => IPV6 + GRE,
        "ip6gretap" => IPV6 + GRE + ETHERNET,
        "wireguard" => IPV4 + UDP + WIREGUARD,
        _ => return None,
    };
    Some(Tunnel { overhead, remote: None })
}

/// A tunnel of `kind` with these settings.
pub fn read(kind: &LinkKind, data: &InfoData) -> Option<Tunnel> {
    let plain = of_kind(kind).filter(|_| !is_told_by_packets(data))?;
    Some(match data {
        InfoData::Vxlan(settings) => outer(plain, settings.iter().filter_map(vxlan)),
        InfoData::Geneve(settings) => outer(plain, settings.iter().filter_map(geneve)),
        InfoData::IpTunnel(settings) => Tunnel { remote: remote(settings), ..plain },
        InfoData::GreTun(settings) | InfoData::GreTap(settings) => gre(plain, settings),
        InfoData::GreTun6(settings) | InfoData::GreTap6(settings) => gre6(plain, settings),
        _ => plain,
    })
}

/// Whether whoever sends by a tunnel says with each packet where it goes, as Open vSwitch and programs do:
/// then there is no one link below, nor one overhead.
fn is_told_by_packets(data: &InfoData) -> bool {
    match data {
        InfoData::Vxlan(settings) => settings.contains(&InfoVxlan::CollectMetadata(true)),
        InfoData::Geneve(settings) => settings.contains(&InfoGeneve::CollectMetadata),
        InfoData::GreTun(settings) | InfoData::GreTap(settings) => {
            settings.contains(&InfoGre::CollectMetadata)
        }
        InfoData::GreTun6(settings) | InfoData::GreTap6(settings) => {
            settings.contains(&InfoGre6::CollectMetadata)
        }
        InfoData::IpTunnel(settings) => settings.contains(&InfoIpTunnel::CollectMetadata),
        _ => false,
    }
}

/// An address of either end of a tunnel, and whether it is the other one's.
type Outer = (IpAddr, bool);

fn vxlan(setting: &InfoVxlan) -> Option<Outer> {
    match setting {
        InfoVxlan::Group(address) => Some(((*address).into(), true)),
        InfoVxlan::Group6(address) => Some(((*address).into(), true)),
        InfoVxlan::Local(address) => Some(((*address).into(), false)),
        InfoVxlan::Local6(address) => Some(((*address).into(), false)),
        _ => None,
    }
}

fn geneve(setting: &InfoGeneve) -> Option<Outer> {
    match setting {
        InfoGeneve::Remote(address) => Some(((*address).into(), true)),
        InfoGeneve::Remote6(address) => Some(((*address).into(), true)),
        _ => None,
    }
}

/// A tunnel that goes by either family, as its addresses tell.
fn outer(plain: Tunnel, addresses: impl Iterator<Item = Outer>) -> Tunnel {
    let mut tunnel = plain;
    for (address, is_remote) in addresses {
        if address.is_ipv6() {
            tunnel.overhead = plain.overhead - IPV4 + IPV6;
        }
        if is_remote {
            tunnel.remote = specified(address);
        }
    }
    tunnel
}

fn specified(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified()).then_some(address)
}

fn remote(settings: &[InfoIpTunnel]) -> Option<IpAddr> {
    settings.iter().find_map(|setting| match setting {
        InfoIpTunnel::Remote(address) => specified(*address),
        _ => None,
    })
}

fn gre(plain: Tunnel, settings: &[InfoGre]) -> Tunnel {
    let mut tunnel = plain;
    for setting in settings {
        match setting {
            InfoGre::OFlags(flags) => tunnel.overhead += options(*flags),
            InfoGre::Remote(address) => tunnel.remote = specified((*address).into()),
            _ => {}
        }
    }
    tunnel
}

fn gre6(plain: Tunnel, settings: &[InfoGre6]) -> Tunnel {
    let mut tunnel = plain;
    for setting in settings {
        match setting {
            InfoGre6::OFlags(flags) => tunnel.overhead += options(*flags),
            InfoGre6::Remote(address) => tunnel.remote = specified((*address).into()),
            _ => {}
        }
    }
    tunnel
}

fn options(flags: GreIOFlags) -> u32 {
    let options = [GreIOFlags::Checksum, GreIOFlags::Key, GreIOFlags::Seq];
    let set = options.into_iter().filter(|option| flags.contains(*option));
    set.map(|_| GRE_OPTION).sum()
}
