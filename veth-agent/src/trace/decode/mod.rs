//! What is in a frame: plain data from the captured bytes, which may end anywhere and hold anything.

mod arp;
mod dns;
mod ethernet;
mod icmp;
mod icmp6;
mod ip;
mod part;
mod quoted;
mod tcp;
mod udp;

use serde::Serialize;

use self::part::Part;
pub use self::{
    arp::Arp,
    dns::{Dns, DnsAnswer, DnsQuestion},
    ethernet::{Ethernet, Vlan},
    icmp::Icmp,
    ip::{Fragment, Ip},
    quoted::Quoted,
    tcp::{Tcp, TcpFlags, TcpOptions},
    udp::Udp,
};

/// Numbers of protocols above IP.
/// <https://www.iana.org/assignments/protocol-numbers>
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// A frame, as far as its captured bytes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Its Ethernet header.
    pub ethernet: Option<Ethernet>,
    /// What that header carries.
    pub network: Option<Network>,
    /// What IP carries; `None` for all but the first fragment, and for protocols that are not decoded.
    pub transport: Option<Transport>,
    /// What UDP carries from and to port 53.
    pub dns: Option<Dns>,
    /// Why decoding ended before its time.
    pub fault: Option<Fault>,
}

/// What Ethernet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// ARP, of IPv4 over Ethernet.
    Arp(Arp),
    /// IPv4 or IPv6.
    Ip(Ip),
}

/// What IP carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp(Udp),
    /// ICMP or ICMPv6.
    Icmp(Icmp),
}

/// Why decoding ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "layer")]
pub enum Fault {
    /// The captured bytes end inside this layer.
    Cut(&'static str),
    /// This layer contradicts itself.
    Bad(&'static str),
}

impl Packet {
    /// Its ARP, if it has one.
    #[must_use]
    pub const fn arp(&self) -> Option<&Arp> {
        if let Some(Network::Arp(arp)) = &self.network { Some(arp) } else { None }
    }

    /// Its IP header, if it has one.
    #[must_use]
    pub const fn ip(&self) -> Option<&Ip> {
        if let Some(Network::Ip(ip)) = &self.network { Some(ip) } else { None }
    }
}

/// Decodes the first bytes of a frame that is `length` bytes long, and more than that for GSO packets.
/// Takes any bytes; what cannot be read is told in [`Packet::fault`].
#[must_use]
pub fn decode(frame: &[u8], length: u32) -> Packet {
    let mut packet = Packet::default();
    packet.fault = layers(Part { bytes: frame, length }, &mut packet).err();
    packet
}

/// Puts layer after layer into `packet`, and leaves there what was read before a fault.
fn layers(frame: Part<'_>, packet: &mut Packet) -> Result<(), Fault> {
    let (ethernet, payload) = ethernet::read(frame)?;
    let ethertype = packet.ethernet.insert(ethernet).ethertype;
    match ethertype {
        ethernet::ARP => {
            packet.network = arp::read(payload)?.map(Network::Arp);
            Ok(())
        }
        ethernet::IPV4 | ethernet::IPV6 => above_ethernet(ip::read(payload)?, packet),
        _ => Ok(()),
    }
}

fn above_ethernet((ip, payload): (Ip, Part<'_>), packet: &mut Packet) -> Result<(), Fault> {
    let protocol = ip.protocol;
    let whole = ip.fragment.is_none();
    let begins = ip.begins();
    packet.network = Some(Network::Ip(ip));
    if !begins {
        return Ok(());
    }
    match protocol {
        protocol::TCP => {
            let (tcp, fault) = tcp::read(payload)?;
            packet.transport = Some(Transport::Tcp(tcp));
            return fault.map_or(Ok(()), Err);
        }
        protocol::UDP => {
            let (udp, data) = udp::read(payload)?;
            let is_dns = whole && udp.length > 0 && udp.is_between(dns::PORT);
            packet.transport = Some(Transport::Udp(udp));
            if is_dns {
                let (dns, fault) = dns::read(data)?;
                packet.dns = Some(dns);
                return fault.map_or(Ok(()), Err);
            }
        }
        protocol::ICMP => packet.transport = Some(Transport::Icmp(icmp::read(payload)?)),
        protocol::ICMPV6 => packet.transport = Some(Transport::Icmp(icmp6::read(payload)?)),
        _ => {}
    }
    Ok(())
}
