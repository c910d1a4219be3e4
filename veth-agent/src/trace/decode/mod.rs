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
    dns::{Dns, DnsAnswer, DnsFlags, DnsQuestion},
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
    /// The captured bytes end inside this layer, which goes on.
    Cut(&'static str),
    /// This layer contradicts itself, or the one that carries it.
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

/// Decodes the first bytes of a frame that is `length` bytes long, of a GSO packet with all of its segments.
/// Takes any bytes; what cannot be read is told in [`Packet::fault`].
#[must_use]
pub fn decode(frame: &[u8], length: u32) -> Packet {
    let mut packet = Packet::default();
    let length = length.max(u32::try_from(frame.len()).unwrap_or(u32::MAX));
    packet.fault = layers(Part { bytes: frame, length }, &mut packet).err();
    packet
}

/// Puts layer after layer into `packet`, and leaves there what was read before a fault.
fn layers(frame: Part<'_>, packet: &mut Packet) -> Result<(), Fault> {
    let (ethernet, payload, fault) = ethernet::read(frame)?;
    let ethertype = packet.ethernet.insert(ethernet).ethertype;
    match ethertype {
        _ if fault.is_some() => fault.map_or(Ok(()), Err),
        ethernet::ARP => {
            packet.network = arp::read(payload)?.map(Network::Arp);
            Ok(())
        }
        ethernet::IPV4 | ethernet::IPV6 => above_ethernet(ip::read(payload)?, packet),
        _ => Ok(()),
    }
}

fn above_ethernet(
    (ip, payload, fault): (Ip, Part<'_>, Option<Fault>),
    packet: &mut Packet,
) -> Result<(), Fault> {
    let Ip { protocol, .. } = ip;
    let (begins, whole) = (ip.begins(), ip.is_whole());
    packet.network = Some(Network::Ip(ip));
    if let Some(fault) = fault {
        return Err(fault);
    }
    if !begins {
        return Ok(());
    }
    let (transport, fault) = match protocol {
        protocol::TCP => {
            let (tcp, fault) = tcp::read(payload)?;
            (Transport::Tcp(tcp), fault)
        }
        protocol::UDP => return above_ip(udp::read(payload, whole)?, whole, packet),
        protocol::ICMP => (Transport::Icmp(icmp::read(payload)?), None),
        protocol::ICMPV6 => {
            let (icmp, fault) = icmp6::read(payload)?;
            (Transport::Icmp(icmp), fault)
        }
        _ => return Ok(()),
    };
    packet.transport = Some(transport);
    fault.map_or(Ok(()), Err)
}

/// Takes in UDP, and what it carries.
fn above_ip(
    (udp, data, fault): (Udp, Part<'_>, Option<Fault>),
    whole: bool,
    packet: &mut Packet,
) -> Result<(), Fault> {
    let is_dns = whole && udp.length > 0 && udp.is_between(dns::PORT);
    packet.transport = Some(Transport::Udp(udp));
    if let Some(fault) = fault {
        return Err(fault);
    }
    if !is_dns {
        return Ok(());
    }
    let (dns, fault) = dns::read(data)?;
    packet.dns = Some(dns);
    fault.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames;

    fn whole(frame: &[u8]) -> Packet {
        decode(frame, frame.len() as u32)
    }

    #[test]
    fn what_the_capture_cuts_off_is_never_called_a_contradiction() {
        for (name, frame) in frames::all() {
            let all = whole(&frame);
            for end in (0..frame.len()).filter(|end| *end < 200) {
                let part = decode(&frame[..end], frame.len() as u32);
                let bad = matches!(part.fault, Some(Fault::Bad(_)));
                assert!(!bad || part.fault == all.fault, "{name}, {end} bytes: {part:?}");
            }
        }
    }

    #[test]
    fn what_ends_on_its_way_is_never_called_cut_by_the_capture() {
        for (name, frame) in frames::all() {
            for end in (0..frame.len()).filter(|end| *end < 200) {
                let packet = whole(&frame[..end]);
                let missing = packet.ip().is_some_and(|ip| ip.missing > 0);
                let cut = matches!(packet.fault, Some(Fault::Cut(_)));
                assert!(!cut || missing, "{name}, {end} bytes: {packet:?}");
            }
        }
    }

    #[test]
    fn a_sound_frame_has_no_fault() {
        let damaged = [
            "bad-",
            "query-too-long",
            "query-endless",
            "query-promises",
            "tcp-offset-more",
            "udp-length-",
            "payload-length-zero",
        ];
        for (name, frame) in frames::all() {
            let sound = !damaged.iter().any(|damage| name.starts_with(damage));
            let packet = whole(&frame);
            assert_eq!(packet.fault.is_none(), sound || name == "v6-as-v4", "{name}: {packet:?}");
        }
    }

    #[test]
    fn a_frame_that_is_said_to_be_shorter_than_its_bytes_is_as_long_as_they_are() {
        let frame = frames::ethernet(
            frames::IPV4,
            &frames::ipv4(frames::UDP, &frames::udp((1, 2), b"four")),
        );
        assert_eq!(decode(&frame, 1), whole(&frame));
    }

    #[test]
    fn dns_is_looked_for_at_its_port_and_in_whole_packets_only() {
        let message = frames::dns(0x0100, [1, 0, 0, 0], &frames::question(&[b"a"], 1));
        let over = |packet: Vec<u8>| whole(&frames::ethernet(frames::IPV4, &packet)).dns.is_some();
        assert!(over(frames::ipv4(frames::UDP, &frames::udp((53, 40000), &message))));
        assert!(!over(frames::ipv4(frames::UDP, &frames::udp((40000, 5353), &message))));
        let fragment = frames::ipv4_with(&[], 0x2000, frames::UDP, &frames::udp((53, 1), &message));
        assert!(!over(fragment));
        let atomic = frames::fragment(frames::UDP, 0, &frames::udp((40000, 53), &message));
        let atomic = frames::ethernet(frames::IPV6, &frames::ipv6(frames::FRAGMENT, &atomic));
        assert!(whole(&atomic).dns.is_some(), "the only fragment is all of it");
    }
}
