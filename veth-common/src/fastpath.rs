//! The fast path: what lets a packet go from one pair straight into the far end of another.

/// How the packets of an end travel.
pub mod mode {
    /// Through the kernel's stack.
    pub const OBSERVE: u32 = 0;
    /// By `bpf_redirect_peer`, from TC ingress.
    pub const TC: u32 = 1;
    /// By `XDP_REDIRECT`.
    pub const XDP: u32 = 2;
}

/// An address of a far end, as the namespace knows it that forwards between the near ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct EndpointKey {
    /// `SO_NETNS_COOKIE` of the namespace that forwards.
    pub netns_cookie: u64,
    /// The address.
    pub address: Address,
}

/// An IPv6 address, or an IPv4 one mapped into it (RFC 4291, 2.5.5.2), in words as they lie in a packet:
/// what is compared and hashed for every packet is not taken apart first.
pub type Address = [u32; 4];

/// A MAC in half-words, as they lie in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Mac(pub [u16; 3]);

impl Mac {
    /// From its bytes.
    #[must_use]
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])])
    }

    /// Whether it stands for many.
    #[inline(always)]
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0].to_ne_bytes()[0] & 1 != 0
    }
}

/// Where a packet for an address goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Endpoint {
    /// Index of the near end, in the namespace that forwards.
    pub ifindex: u32,
    /// Its place in the map of devices, where the kernel itself clears what is gone.
    pub device: u32,
    /// [`crate::endpoint::EndSlot::generation`] of the near end: an entry of an earlier owner of the
    /// index is known by it.
    pub generation: u32,
    /// The largest packet that both of its ends take, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Index of the bridge that the near end is a port of; 0 where it is routed to.
    pub bridge: u32,
    /// MAC of the far end.
    pub far_mac: Mac,
    /// MAC of the near end.
    pub near_mac: Mac,
}

/// Why a packet went to the stack and not by the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Fallback {
    /// No agent has renewed the lease.
    Lease = 0,
    /// Neither IPv4 nor IPv6: ARP, for example.
    NotIp = 1,
    /// A VLAN tag, in the packet or beside it.
    Vlan = 2,
    /// The frame is for many.
    Multicast = 3,
    /// IPv4 options.
    Options = 4,
    /// A fragment.
    Fragment = 5,
    /// Neither TCP, UDP nor an echo; IPv6 extension headers too.
    Protocol = 6,
    /// Cut short, or its lengths or its header checksum contradict it.
    Malformed = 7,
    /// Its source address or MAC is not the sending end's.
    Source = 8,
    /// Its destination is no far end of the fast path.
    Destination = 9,
    /// Its destination is where it comes from.
    Hairpin = 10,
    /// Addressed to a MAC that is neither the destination's nor, where packets are routed, the near
    /// end's.
    Mac = 11,
    /// The hop limit ends here.
    HopLimit = 12,
    /// Larger than the destination takes.
    Oversize = 13,
    /// The near end of its destination is gone.
    Gone = 14,
    /// The kernel had no memory to change it.
    Memory = 15,
}

impl Fallback {
    /// All of them, each in its own place.
    pub const ALL: [Self; 16] = [
        Self::Lease,
        Self::NotIp,
        Self::Vlan,
        Self::Multicast,
        Self::Options,
        Self::Fragment,
        Self::Protocol,
        Self::Malformed,
        Self::Source,
        Self::Destination,
        Self::Hairpin,
        Self::Mac,
        Self::HopLimit,
        Self::Oversize,
        Self::Gone,
        Self::Memory,
    ];

    /// The label of `veth_agent_redirect_fallbacks_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::NotIp => "not_ip",
            Self::Vlan => "vlan",
            Self::Multicast => "multicast",
            Self::Options => "options",
            Self::Fragment => "fragment",
            Self::Protocol => "protocol",
            Self::Malformed => "malformed",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Hairpin => "hairpin",
            Self::Mac => "mac",
            Self::HopLimit => "hop_limit",
            Self::Oversize => "oversize",
            Self::Gone => "gone",
            Self::Memory => "memory",
        }
    }
}

/// Packets of an end that went to the stack, by [`Fallback`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Fallbacks {
    /// One count a reason.
    pub by_reason: [u64; 16],
}

impl Fallbacks {
    /// Counts one packet.
    #[inline(always)]
    pub fn add(&mut self, reason: Fallback) {
        // Every reason has a place; the bound is for the verifier.
        self.by_reason[reason as usize & 15] += 1;
    }

    /// The sum of two readings, for example of two CPUs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for (sum, other) in sum.by_reason.iter_mut().zip(other.by_reason) {
            *sum = sum.wrapping_add(other);
        }
        sum
    }
}

/// An IPv4 address, given as it lies in a packet, as [`EndpointKey::address`] holds it.
#[inline(always)]
#[must_use]
pub const fn mapped(address: u32) -> Address {
    [0, 0, 0xffff_u32.to_be(), address]
}

/// An address of either family as [`EndpointKey::address`] holds it.
#[must_use]
pub fn address_of(address: core::net::IpAddr) -> Address {
    match address {
        core::net::IpAddr::V4(address) => mapped(u32::from_ne_bytes(address.octets())),
        core::net::IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            [0, 1, 2, 3].map(|at| u32::from_ne_bytes(words[at]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_place_and_a_name_of_its_own() {
        let mut fallbacks = Fallbacks::default();
        for (place, reason) in Fallback::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            fallbacks.add(reason);
            let same = Fallback::ALL.iter().filter(|other| other.as_str() == reason.as_str());
            assert_eq!(same.count(), 1, "{reason:?}");
        }
        assert_eq!(fallbacks.by_reason, [1; 16]);
    }
}
