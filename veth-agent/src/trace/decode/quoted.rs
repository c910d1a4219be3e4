//! The packet that an ICMP error is about, of which it quotes the beginning.

use std::net::IpAddr;

use serde::Serialize;

use super::{ip, part::Part, protocol};

/// The packet that an ICMP error is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quoted {
    /// Who sent it.
    pub source: IpAddr,
    /// For whom it was.
    pub destination: IpAddr,
    /// What it carried.
    pub protocol: u8,
    /// Source and destination port, of protocols that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
}

/// `None` where too little of it was captured, or it is no IP packet.
pub fn read(part: Part<'_>) -> Option<Quoted> {
    let (ip, payload, _) = ip::read(part).ok()?;
    let has_ports = matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let ports = payload.bytes.first_chunk().filter(|_| has_ports && ip.begins());
    Some(Quoted {
        source: ip.source,
        destination: ip.destination,
        protocol: ip.protocol,
        ports: ports.map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, RECEIVER, SENDER};

    fn quoted(protocol: u8, ports: Option<(u16, u16)>) -> Option<Quoted> {
        let (source, destination) = (SENDER.1.into(), RECEIVER.1.into());
        Some(Quoted { source, destination, protocol, ports })
    }

    /// Of a quoted packet, routers need to send 8 bytes only behind its IP header (RFC 792).
    fn read_beginning(packet: &[u8]) -> Option<Quoted> {
        read(Part { bytes: &packet[..28], length: 28 })
    }

    #[test]
    fn eight_bytes_are_enough_for_ports() {
        let ports = Some((40000, 80));
        let tcp = frames::ipv4(protocol::TCP, &frames::tcp(2, &[], &[]));
        assert_eq!(read_beginning(&tcp), quoted(protocol::TCP, ports));
        let udp = frames::ipv4(protocol::UDP, &frames::udp((40000, 80), &[]));
        assert_eq!(read_beginning(&udp), quoted(protocol::UDP, ports));
        let sctp = frames::ipv4(protocol::SCTP, &frames::udp((40000, 80), &[]));
        assert_eq!(read_beginning(&sctp), quoted(protocol::SCTP, ports));
    }

    #[test]
    fn protocols_and_fragments_without_ports_have_none() {
        let echo = frames::ipv4(protocol::ICMP, &frames::icmp(8, 0, [0; 4], &[]));
        assert_eq!(read_beginning(&echo), quoted(protocol::ICMP, None));
        let later = frames::ipv4_with(&[], 1, protocol::UDP, &[0; 8]);
        assert_eq!(read_beginning(&later), quoted(protocol::UDP, None));
    }

    #[test]
    fn a_cut_quotation_tells_what_it_has() {
        let udp = frames::ipv4(protocol::UDP, &frames::udp((40000, 9), &[]));
        for end in 0..udp.len() {
            let expected = match end {
                ..20 => None,
                20..24 => quoted(protocol::UDP, None),
                24.. => quoted(protocol::UDP, Some((40000, 9))),
            };
            assert_eq!(read(Part { bytes: &udp[..end], length: 28 }), expected, "{end} bytes");
        }
        assert_eq!(read(Part { bytes: &[0; 28], length: 28 }), None, "no IP packet");
    }
}
