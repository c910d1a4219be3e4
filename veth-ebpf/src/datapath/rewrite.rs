//! What a router changes in a packet.

use veth_common::fastpath::Endpoint;

use crate::parse::{Head, Headers};

/// A new beginning for a packet. Whole in either case: the verifier refuses to copy what was never
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The beginning.
    pub head: Head,
    /// So many bytes of it are new: none, or as far as the checksum of IPv4 or the hop limit of IPv6.
    pub bytes: u32,
}

impl Rewrite {
    /// Bytes that are new of a routed IPv4 packet.
    pub const IPV4_BYTES: u32 = 26;
    /// Bytes that are new of a routed IPv6 packet.
    pub const IPV6_BYTES: u32 = 22;

    /// A bridge changes nothing.
    #[inline(always)]
    #[must_use]
    pub fn nothing(headers: &Headers) -> Self {
        Self { head: headers.head, bytes: 0 }
    }

    /// The changes on the way to `target`: MACs, hop limit, header checksum. The hop limit is above 1.
    #[inline(always)]
    #[must_use]
    pub fn routed(headers: &Headers, target: &Endpoint) -> Self {
        let mut head = headers.head;
        (head.to, head.from) = (target.far_mac.0, target.near_mac.0);
        if headers.is_ipv4() {
            let [hop_limit, protocol, a, b] = head.network[2].to_ne_bytes();
            let [a, b] = decreased(u16::from_ne_bytes([a, b])).to_ne_bytes();
            head.network[2] = u32::from_ne_bytes([hop_limit.wrapping_sub(1), protocol, a, b]);
            Self { head, bytes: Self::IPV4_BYTES }
        } else {
            let [a, b, protocol, hop_limit] = head.network[1].to_ne_bytes();
            head.network[1] = u32::from_ne_bytes([a, b, protocol, hop_limit.wrapping_sub(1)]);
            Self { head, bytes: Self::IPV6_BYTES }
        }
    }
}

/// The checksum behind a TTL that is lower by one: `ip_decrease_ttl`, `include/net/ip.h`, to the bit.
/// In and out as the packet's bytes lie in memory.
#[inline(always)]
fn decreased(checksum: u16) -> u16 {
    let sum = u32::from(checksum) + u32::from(0x0100_u16.to_be());
    let sum = sum + u32::from(sum >= 0xffff);
    (sum & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u16]) -> u16 {
        let sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        !(((sum & 0xffff) + (sum >> 16)) as u16)
    }

    #[test]
    fn a_checksum_is_right_again_behind_a_lower_ttl() {
        // All other words of the header add up to each possible sum.
        for rest in 0..=u16::MAX {
            for ttl in [2_u16, 64, 255] {
                let old = sum(&[rest, ttl << 8 | 6]);
                let new = decreased(u16::from_ne_bytes(old.to_be_bytes()));
                let new = u16::from_be_bytes(new.to_ne_bytes());
                let wanted = sum(&[rest, (ttl - 1) << 8 | 6]);
                // Zero has two faces in ones' complement.
                assert!(new == wanted || (new ^ wanted) == 0xffff && (new == 0 || wanted == 0));
            }
        }
    }
}
