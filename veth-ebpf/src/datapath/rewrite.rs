//! What a router changes in a packet.

use veth_common::fastpath::Endpoint;

use crate::parse::{Headers, Ipv4Headers, Ipv6Headers};

/// New bytes for the beginning of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// A bridge changes nothing.
    Nothing,
    /// MACs, TTL and header checksum.
    V4([u8; 26]),
    /// MACs and hop limit.
    V6([u8; 22]),
}

impl Rewrite {
    /// The changes on the way to `target`. The hop limit is above 1.
    #[inline(always)]
    #[must_use]
    pub fn routed(headers: &Headers, target: &Endpoint) -> Self {
        match headers {
            Headers::V4(bytes) => Self::V4(ipv4(bytes, target)),
            Headers::V6(bytes) => Self::V6(ipv6(bytes, target)),
        }
    }
}

#[inline(always)]
fn ipv4(bytes: &Ipv4Headers, target: &Endpoint) -> [u8; 26] {
    let mut new = [0; 26];
    new.copy_from_slice(&bytes[..26]);
    address(&mut new, target);
    new[22] = bytes[22].wrapping_sub(1);
    let checksum = decreased(u16::from_ne_bytes([bytes[24], bytes[25]])).to_ne_bytes();
    new[24] = checksum[0];
    new[25] = checksum[1];
    new
}

#[inline(always)]
fn ipv6(bytes: &Ipv6Headers, target: &Endpoint) -> [u8; 22] {
    let mut new = [0; 22];
    new.copy_from_slice(&bytes[..22]);
    address(&mut new, target);
    new[21] = bytes[21].wrapping_sub(1);
    new
}

#[inline(always)]
fn address(new: &mut [u8], target: &Endpoint) {
    new[..6].copy_from_slice(&target.far_mac);
    new[6..12].copy_from_slice(&target.near_mac);
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
