//! Packets that do not fit, the pieces that they are cut into, and the errors that tell of them.

use veth_common::{
    counters::Direction,
    fastpath::{Address, mapped},
    mtu::{Family, Figure},
};

use super::network::{Network, is_tagged};
use crate::{
    packet::Packet,
    parse::{ETHERNET, Head, ICMP, ICMPV6, TYPE_IPV4, TYPE_IPV6},
};

#[cfg(test)]
mod tests;

/// The next header of an IPv6 fragment.
const FRAGMENT: u8 = 44;

/// Where what is seen is counted, for one end.
pub trait Figures {
    /// Whether an address belongs to the end's namespace.
    fn owns(&self, address: Address) -> bool;
    /// Counts one packet.
    fn count(&self, figure: Figure);
}

/// Whether a frame of `bytes`, a plain one without a VLAN tag, is larger than `limit`, of which 0 is none.
/// It has an Ethernet header.
#[inline(always)]
#[must_use]
pub fn exceeds(bytes: u32, limit: u32) -> bool {
    limit != 0 && bytes.wrapping_sub(ETHERNET) > limit
}

/// Counts what there is to say of a packet that passes an end: of most, nothing.
#[inline(always)]
pub fn observe(packet: &impl Packet, direction: Direction, limit: u32, figures: &impl Figures) {
    let large = exceeds(packet.bytes(), limit);
    if !large && packet.linear().is_some_and(is_plain) {
        return;
    }
    // What is shorter than this is no IP, and fits.
    let Some(head) = packet.head() else { return };
    let Some(network) = Network::of(packet, &head) else { return };
    if large && network.largest(packet).is_some_and(|largest| largest > limit) {
        figures.count(Figure::Oversize(direction));
    }
    match network.notable() {
        Some(Notable::Fragment(family)) => figures.count(Figure::Fragment(family, direction)),
        Some(Notable::Icmp(family)) => {
            if let Some(about) = network.error(packet, family) {
                figures.count(Figure::Error(family, direction));
                if direction == Direction::Rx && figures.owns(about) {
                    figures.count(Figure::Reached(family));
                }
            }
        }
        None => {}
    }
}

/// Whether a packet's beginning says that there is nothing more to look at, by as few bytes as that takes.
#[inline(always)]
fn is_plain(bytes: &[u8; Head::BYTES as usize]) -> bool {
    let head = Head::from_bytes(bytes);
    !is_tagged(&head) && Network::untagged(&head).notable().is_none()
}

/// What a network header alone may show.
enum Notable {
    Fragment(Family),
    /// Something of this family's ICMP.
    Icmp(Family),
}

impl Network {
    /// The packet, or the largest that it will be cut into, in bytes from the network header on. Of a
    /// GSO packet in a tunnel only the outer headers are known, so that it may be larger than this.
    #[inline(always)]
    fn largest(&self, packet: &impl Packet) -> Option<u32> {
        let segment = packet.gso_size();
        if segment == 0 {
            return Some(packet.bytes().wrapping_sub(self.at));
        }
        Some(self.headers(packet)? + segment)
    }

    #[inline(always)]
    fn notable(&self) -> Option<Notable> {
        let [_, second, third, ..] = self.words;
        match self.kind {
            // More fragments, or an offset.
            TYPE_IPV4 if second & 0x3fff_u32.to_be() != 0 => Some(Notable::Fragment(Family::Ipv4)),
            TYPE_IPV4 if third.to_ne_bytes()[1] == ICMP => Some(Notable::Icmp(Family::Ipv4)),
            TYPE_IPV6 => match second.to_ne_bytes()[2] {
                FRAGMENT => Some(Notable::Fragment(Family::Ipv6)),
                ICMPV6 => Some(Notable::Icmp(Family::Ipv6)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Of an error that names an MTU: who sent the packet that it is about, and of which it quotes the
    /// beginning.
    #[inline(always)]
    fn error(&self, packet: &impl Packet, family: Family) -> Option<Address> {
        let (bytes, _) = self.header()?;
        let at = self.at + bytes;
        // Type and code, the MTU, and the first words of what is quoted.
        let [what, _, quoted, ..] = packet.words(at)?;
        let ([kind, code, ..], version) = (what.to_ne_bytes(), quoted.to_ne_bytes()[0] >> 4);
        match (family, kind, code, version) {
            (Family::Ipv4, 3, 4, 4) => {
                let [.., source] = packet.words(at + 4)?;
                Some(mapped(source))
            }
            (Family::Ipv6, 2, _, 6) => {
                let [a, b, c, d, _] = packet.words(at + 16)?;
                Some([a, b, c, d])
            }
            _ => None,
        }
    }
}
