//! What of a packet stays as it is while it travels through a node.

use super::super::decode::protocol;

/// So many bytes behind the Ethernet header are looked at.
const BYTES: usize = 80;

/// With less in common, nothing can be said.
const ENOUGH: usize = 20;

const ETHERTYPES: usize = 12;
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The bytes from the network header on, without those that a router or a device changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    pub fn of(frame: &[u8]) -> Self {
        let (ethertype, packet) = network(frame);
        let mut bytes = packet.get(..BYTES).unwrap_or(packet).to_vec();
        match ethertype {
            Some(IPV4) => still_ipv4(&mut bytes),
            Some(IPV6) => still_ipv6(&mut bytes),
            _ => {}
        }
        Self(bytes)
    }

    /// Whether both can be of one packet. What is dropped may be known by its beginning alone, or by nothing.
    pub fn fits(&self, other: &Self) -> bool {
        let common = self.0.len().min(other.0.len());
        common < ENOUGH && (self.0.is_empty() || other.0.is_empty())
            || self.0[..common] == other.0[..common]
    }
}

/// What lies behind the Ethernet header and its VLAN tags, and what that is.
fn network(frame: &[u8]) -> (Option<u16>, &[u8]) {
    let mut rest = frame.get(ETHERTYPES..).unwrap_or_default();
    while let Some((ethertype, behind)) = rest.split_first_chunk() {
        let ethertype = u16::from_be_bytes(*ethertype);
        if !VLAN.contains(&ethertype) {
            return (Some(ethertype), behind);
        }
        rest = behind.get(2..).unwrap_or_default();
    }
    (None, &[])
}

/// Without type of service, TTL and checksums.
fn still_ipv4(packet: &mut [u8]) {
    let header = usize::from(packet.first().copied().unwrap_or_default() & 0xf) * 4;
    let above = packet.get(9).copied();
    blank(packet, &[1, 8, 10, 11]);
    still_transport(packet, above, header);
}

/// Without traffic class, flow label, hop limit and checksums.
fn still_ipv6(packet: &mut [u8]) {
    let above = packet.get(6).copied();
    blank(packet, &[0, 1, 2, 3, 7]);
    still_transport(packet, above, 40);
}

/// A device may be the one that makes the checksum.
fn still_transport(packet: &mut [u8], above: Option<u8>, header: usize) {
    let checksum = match above {
        Some(protocol::TCP) => header + 16,
        Some(protocol::UDP) => header + 6,
        _ => return,
    };
    blank(packet, &[checksum, checksum + 1]);
}

fn blank(packet: &mut [u8], places: &[usize]) {
    for place in places {
        if let Some(byte) = packet.get_mut(*place) {
            *byte = 0;
        }
    }
}
