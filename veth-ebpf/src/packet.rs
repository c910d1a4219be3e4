//! The only place that reads the kernel's packet context.

use aya_ebpf::programs::TcContext;

/// What the programs ask of a packet.
pub trait Packet {
    /// Index of the interface that the packet arrives at or leaves by.
    fn ifindex(&self) -> u32;
    /// Bytes, Ethernet header included; of a GSO packet, all of its segments together.
    fn bytes(&self) -> u32;
    /// Frames that a wire would carry for this packet, at least 1.
    fn segments(&self) -> u32;
}

impl Packet for TcContext {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the kernel passes a valid context, and the verifier checks this load against
        // the layout of `struct __sk_buff`.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.skb.len()
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        let segments = unsafe { (*self.skb.skb).gso_segs };
        // Zero for a packet that is not GSO.
        if segments == 0 { 1 } else { segments }
    }
}
