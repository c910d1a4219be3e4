//! Headers of a packet, read and checked. What the fast path does not take is told by its reason.
//!
//! Fields stay as they lie in the packet, in words at word addresses, and are turned round only where
//! their value matters: every instruction here is paid for by every packet.

use veth_common::fastpath::{Address, Fallback, Mac, mapped};

use crate::packet::Packet;

/// Bytes of an Ethernet header.
pub const ETHERNET: u32 = 14;
const IPV4: u32 = 20;
/// Bytes of an IPv6 header.
pub(crate) const IPV6: u32 = 40;

pub(crate) const TYPE_IPV4: u16 = 0x0800_u16.to_be();
pub(crate) const TYPE_IPV6: u16 = 0x86dd_u16.to_be();
pub(crate) const TYPE_VLAN: u16 = 0x8100_u16.to_be();
pub(crate) const TYPE_QINQ: u16 = 0x88a8_u16.to_be();

pub(crate) const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// The first 34 bytes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Head {
    /// Puts the network header at a word address.
    pub padding: u16,
    /// Destination MAC.
    pub to: [u16; 3],
    /// Source MAC.
    pub from: [u16; 3],
    /// EtherType.
    pub kind: u16,
    /// An IPv4 header without options, or the first half of an IPv6 header.
    pub network: [u32; 5],
}

impl Head {
    /// Its bytes in a packet.
    pub const BYTES: u32 = ETHERNET + IPV4;

    /// From the packet's bytes.
    #[inline(always)]
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 34]) -> Self {
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            padding: 0,
            to: [half(0), half(2), half(4)],
            from: [half(6), half(8), half(10)],
            kind: half(12),
            network: [word(14), word(18), word(22), word(26), word(30)],
        }
    }

    #[inline(always)]
    fn is_ipv4(&self) -> bool {
        self.kind == TYPE_IPV4
    }

    /// Why a packet with this Ethernet header is the stack's, whatever follows.
    #[inline(always)]
    fn refused(&self) -> Option<Fallback> {
        if Mac(self.to).is_multicast() {
            return Some(Fallback::Multicast);
        }
        match self.kind {
            TYPE_IPV4 | TYPE_IPV6 => None,
            TYPE_VLAN | TYPE_QINQ => Some(Fallback::Vlan),
            _ => Some(Fallback::NotIp),
        }
    }
}

/// What the fast path has to know of a packet that it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The beginning of the packet.
    pub head: Head,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// TTL or hop limit.
    pub hop_limit: u8,
    protocol: u8,
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
    let Some(head) = packet.head() else { return Err(short(packet)) };
    if let Some(reason) = head.refused() {
        return Err(reason);
    }
    if head.is_ipv4() { ipv4(packet, head) } else { ipv6(packet, head) }
}

/// A packet that ends before any network header does.
#[inline(always)]
fn short(packet: &impl Packet) -> Fallback {
    let Some([to, _, _, _, _, _, kind]) = packet.ethernet() else { return Fallback::Malformed };
    let head = Head { to: [to, 0, 0], kind, ..Head::default() };
    head.refused().unwrap_or(Fallback::Malformed)
}

#[inline(always)]
fn ipv4(packet: &impl Packet, head: Head) -> Result<Headers, Fallback> {
    let [first, second, third, source, destination] = head.network;
    match first.to_ne_bytes()[0] {
        0x45 => {}
        0x46..=0x4f => return Err(Fallback::Options),
        _ => return Err(Fallback::Malformed),
    }
    // More fragments, or an offset.
    if u32::from_be(second) & 0x3fff != 0 {
        return Err(Fallback::Fragment);
    }
    let [hop_limit, protocol, ..] = third.to_ne_bytes();
    transport(packet, protocol, ICMP, [8, 0], ETHERNET + IPV4)?;
    let (source, destination) = (mapped(source), mapped(destination));
    Ok(Headers { head, source, destination, hop_limit, protocol })
}

#[inline(always)]
fn ipv6(packet: &impl Packet, head: Head) -> Result<Headers, Fallback> {
    let [first, second, a, b, c] = head.network;
    if first.to_ne_bytes()[0] >> 4 != 6 {
        return Err(Fallback::Malformed);
    }
    let Some([d, destination @ ..]) = packet.words(Head::BYTES) else {
        return Err(Fallback::Malformed);
    };
    let [_, _, protocol, hop_limit] = second.to_ne_bytes();
    transport(packet, protocol, ICMPV6, [128, 129], ETHERNET + IPV6)?;
    Ok(Headers { head, source: [a, b, c, d], destination, hop_limit, protocol })
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
    match packet.byte(offset) {
        Some(kind) if kind == echo[0] || kind == echo[1] => Ok(()),
        Some(_) => Err(Fallback::Protocol),
        None => Err(Fallback::Malformed),
    }
}

impl Headers {
    /// Whether it is IPv4.
    #[inline(always)]
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.head.is_ipv4()
    }

    /// Whether its lengths, and the checksum of an IPv4 header, say what the packet is: a router
    /// drops or trims what contradicts itself (`ip_rcv_core`, `ip6_rcv_core`), and so does a bridge
    /// that passes packets on to the chains of IP (`br_validate_ipv4`).
    #[inline(always)]
    #[must_use]
    pub fn is_consistent(&self, bytes: u32) -> bool {
        let [first, second, ..] = self.head.network;
        if self.is_ipv4() {
            let length = u32::from_be(first) & 0xffff;
            return length + ETHERNET == bytes && is_sound(&self.head.network);
        }
        // Longer than 65,535 bytes is told elsewhere, and is not for here.
        let payload = u32::from_be(second) >> 16;
        payload != 0 && payload + ETHERNET + IPV6 == bytes
    }

    /// The largest packet that it is, or that its segments are: bytes without the Ethernet header.
    #[inline(always)]
    #[must_use]
    pub fn largest(&self, packet: &impl Packet) -> Option<u32> {
        let segment = packet.gso_size();
        if segment == 0 {
            return Some(packet.bytes().wrapping_sub(ETHERNET));
        }
        let network = if self.is_ipv4() { IPV4 } else { IPV6 };
        Some(network + transport_header(packet, self.protocol, ETHERNET + network)? + segment)
    }
}

/// Bytes of the transport header at `offset`; of what is not known, so many as there are at least.
#[inline(always)]
pub(crate) fn transport_header(packet: &impl Packet, protocol: u8, offset: u32) -> Option<u32> {
    if protocol != TCP {
        return Some(8);
    }
    // The upper half of the thirteenth byte counts words.
    Some(u32::from(packet.byte(offset + 12)? >> 4) * 4)
}

/// Whether the ones' complement sum of an IPv4 header is 0xffff (RFC 1071). The sum is the same in
/// either byte order, and may be folded at the end.
#[inline(always)]
fn is_sound(header: &[u32; 5]) -> bool {
    let [a, b, c, d, e] = header.map(u64::from);
    let sum = a + b + c + d + e;
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}
