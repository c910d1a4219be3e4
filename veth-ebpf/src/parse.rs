//! Headers of a packet, read and checked. What the fast path does not take is told by its reason.

use veth_common::fastpath::{Fallback, mapped};

use crate::packet::Packet;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];
const TYPE_QINQ: [u8; 2] = [0x88, 0xa8];

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// An Ethernet and an IPv4 header without options.
pub type Ipv4Headers = [u8; ETHERNET + IPV4];
/// An Ethernet and an IPv6 header.
pub type Ipv6Headers = [u8; ETHERNET + IPV6];

/// Headers of a packet that the fast path may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// IPv4 without options, not a fragment.
    V4(Ipv4Headers),
    /// IPv6 without extension headers.
    V6(Ipv6Headers),
}

/// Reads the headers.
///
/// # Errors
/// Why the packet is the stack's.
#[inline(always)]
pub fn parse(packet: &impl Packet) -> Result<Headers, Fallback> {
    if packet.is_tagged() {
        return Err(Fallback::Vlan);
    }
    let Some(ethernet) = packet.read::<ETHERNET>(0) else { return Err(Fallback::Malformed) };
    if ethernet[0] & 1 != 0 {
        return Err(Fallback::Multicast);
    }
    match [ethernet[12], ethernet[13]] {
        TYPE_IPV4 => ipv4(packet),
        TYPE_IPV6 => ipv6(packet),
        TYPE_VLAN | TYPE_QINQ => Err(Fallback::Vlan),
        _ => Err(Fallback::NotIp),
    }
}

#[inline(always)]
fn ipv4(packet: &impl Packet) -> Result<Headers, Fallback> {
    let Some(bytes) = packet.read::<{ ETHERNET + IPV4 }>(0) else {
        return Err(Fallback::Malformed);
    };
    match bytes[14] {
        0x45 => {}
        0x46..=0x4f => return Err(Fallback::Options),
        _ => return Err(Fallback::Malformed),
    }
    // More fragments, or an offset.
    if bytes[20] & 0x3f != 0 || bytes[21] != 0 {
        return Err(Fallback::Fragment);
    }
    transport(packet, bytes[23], ICMP, [8, 0], (ETHERNET + IPV4) as u32)?;
    Ok(Headers::V4(bytes))
}

#[inline(always)]
fn ipv6(packet: &impl Packet) -> Result<Headers, Fallback> {
    let Some(bytes) = packet.read::<{ ETHERNET + IPV6 }>(0) else {
        return Err(Fallback::Malformed);
    };
    if bytes[14] >> 4 != 6 {
        return Err(Fallback::Malformed);
    }
    transport(packet, bytes[20], ICMPV6, [128, 129], (ETHERNET + IPV6) as u32)?;
    Ok(Headers::V6(bytes))
}

/// TCP, UDP, or an echo of the family's ICMP.
#[inline(always)]
fn transport(
    packet: &impl Packet,
    protocol: u8,
    icmp: u8,
    echo: [u8; 2],
    offset: u32,
) -> Result<(), Fallback> {
    if protocol == TCP || protocol == UDP {
        return Ok(());
    }
    if protocol != icmp {
        return Err(Fallback::Protocol);
    }
    match packet.read::<1>(offset) {
        Some([kind]) if kind == echo[0] || kind == echo[1] => Ok(()),
        Some(_) => Err(Fallback::Protocol),
        None => Err(Fallback::Malformed),
    }
}

impl Headers {
    /// Destination and source MAC.
    #[inline(always)]
    #[must_use]
    pub fn macs(&self) -> ([u8; 6], [u8; 6]) {
        match self {
            Self::V4(bytes) => (array(bytes, 0), array(bytes, 6)),
            Self::V6(bytes) => (array(bytes, 0), array(bytes, 6)),
        }
    }

    /// Source address, as the map of endpoints has it.
    #[inline(always)]
    #[must_use]
    pub fn source(&self) -> [u8; 16] {
        match self {
            Self::V4(bytes) => mapped(array(bytes, 26)),
            Self::V6(bytes) => array(bytes, 22),
        }
    }

    /// Destination address, as the map of endpoints has it.
    #[inline(always)]
    #[must_use]
    pub fn destination(&self) -> [u8; 16] {
        match self {
            Self::V4(bytes) => mapped(array(bytes, 30)),
            Self::V6(bytes) => array(bytes, 38),
        }
    }

    /// TTL or hop limit.
    #[inline(always)]
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        match self {
            Self::V4(bytes) => bytes[22],
            Self::V6(bytes) => bytes[21],
        }
    }

    /// Whether its lengths, and the checksum of an IPv4 header, say what the packet is: a router
    /// drops or trims what contradicts itself (`ip_rcv_core`, `ip6_rcv_core`).
    #[inline(always)]
    #[must_use]
    pub fn is_consistent(&self, bytes: u32) -> bool {
        let (length, sound) = match self {
            Self::V4(header) => {
                (u16::from_be_bytes([header[16], header[17]]), sum(header) == 0xffff)
            }
            // Longer than 65,535 bytes is told elsewhere, and is not for here.
            Self::V6(header) if header[18] == 0 && header[19] == 0 => return false,
            Self::V6(header) => {
                let payload = u16::from_be_bytes([header[18], header[19]]);
                return u32::from(payload) + (ETHERNET + IPV6) as u32 == bytes;
            }
        };
        sound && u32::from(length) + ETHERNET as u32 == bytes
    }

    /// The largest packet that it is, or that its segments are: bytes without the Ethernet header.
    #[inline(always)]
    #[must_use]
    pub fn largest(&self, packet: &impl Packet) -> Option<u32> {
        let segment = packet.gso_size();
        if segment == 0 {
            return Some(packet.bytes().wrapping_sub(ETHERNET as u32));
        }
        let (network, protocol) = match self {
            Self::V4(bytes) => (IPV4, bytes[23]),
            Self::V6(bytes) => (IPV6, bytes[20]),
        };
        let transport = if protocol == TCP {
            // The upper half of the thirteenth byte counts words.
            let [offset] = packet.read::<1>((ETHERNET + network + 12) as u32)?;
            u32::from(offset >> 4) * 4
        } else {
            8
        };
        Some(network as u32 + transport + segment)
    }
}

/// The ones' complement sum of an IPv4 header; 0xffff where its checksum is right (RFC 1071).
#[inline(always)]
fn sum(header: &Ipv4Headers) -> u32 {
    let mut sum = 0;
    let mut at = ETHERNET;
    while at < ETHERNET + IPV4 {
        sum += u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
        at += 2;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// `N` bytes from `at` on. Both are constants where this is used, so no check remains.
#[inline(always)]
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
