//! Network headers, behind a VLAN tag or not.

use crate::{
    packet::Packet,
    parse::{ETHERNET, Head, IPV6, TYPE_IPV4, TYPE_IPV6, TYPE_QINQ, TYPE_VLAN, transport_header},
};

/// Bytes of a VLAN tag.
const TAG: u32 = 4;

/// Whether a VLAN tag stands in the frame.
#[inline(always)]
pub fn is_tagged(head: &Head) -> bool {
    head.kind == TYPE_VLAN || head.kind == TYPE_QINQ
}

/// A network header.
pub struct Network {
    /// EtherType.
    pub kind: u16,
    /// Where it begins.
    pub at: u32,
    /// Its first five words.
    pub words: [u32; 5],
}

impl Network {
    /// The network header of a packet, behind one VLAN tag at the most.
    #[inline(always)]
    pub fn of(packet: &impl Packet, head: &Head) -> Option<Self> {
        if !is_tagged(head) {
            return Some(Self::untagged(head));
        }
        let [_, _, kind @ ..] = head.network[0].to_ne_bytes();
        let (kind, at) = (u16::from_ne_bytes(kind), ETHERNET + TAG);
        Some(Self { kind, at, words: packet.words(at)? })
    }

    /// The network header of a frame without a VLAN tag.
    #[inline(always)]
    pub fn untagged(head: &Head) -> Self {
        Self { kind: head.kind, at: ETHERNET, words: head.network }
    }

    /// Bytes of the header and the protocol behind it.
    #[inline(always)]
    pub fn header(&self) -> Option<(u32, u8)> {
        let [first, second, third, ..] = self.words.map(u32::to_ne_bytes);
        match self.kind {
            TYPE_IPV4 => Some((u32::from(first[0] & 15) * 4, third[1])),
            TYPE_IPV6 => Some((IPV6, second[2])),
            _ => None,
        }
    }

    /// Bytes of the network header and the transport header behind it.
    #[inline(always)]
    pub fn headers(&self, packet: &impl Packet) -> Option<u32> {
        let (network, protocol) = self.header()?;
        Some(network + transport_header(packet, protocol, self.at + network)?)
    }
}
