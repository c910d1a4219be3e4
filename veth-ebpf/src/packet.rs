//! The only place that reads the kernel's packet context.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_RECOMPUTE_CSUM, xdp_md},
    helpers::generated::{
        bpf_redirect_peer, bpf_skb_load_bytes, bpf_skb_store_bytes, bpf_xdp_get_buff_len,
        bpf_xdp_load_bytes, bpf_xdp_store_bytes,
    },
    programs::{TcContext, XdpContext},
};

use crate::{
    datapath::Rewrite,
    parse::Head,
    trace_maps::{Frame, clamp},
};

/// `PACKET_HOST` and `PACKET_LOOPBACK`, `include/uapi/linux/if_packet.h`.
const PACKET_HOST: u32 = 0;
const PACKET_LOOPBACK: u32 = 5;

/// Bytes ahead of the packet's own in a [`Head`].
const PADDING: usize = core::mem::offset_of!(Head, to);

/// What the programs ask of a packet.
pub trait Packet {
    /// Index of the interface that the packet arrives at or leaves by.
    fn ifindex(&self) -> u32;
    /// Bytes, Ethernet header included; of a GSO packet, all of its segments together.
    fn bytes(&self) -> u32;
    /// Frames that a wire would carry for this packet, as far as the kernel has counted them; 0 where it
    /// has not, and for a packet that is not GSO.
    fn gso_segs(&self) -> u32;
    /// Payload of one segment; 0 for a packet that is not GSO.
    fn gso_size(&self) -> u32;
    /// Whether a VLAN tag lies beside the packet.
    fn is_tagged(&self) -> bool;
    /// The beginning, where it can be had without a call.
    fn linear(&self) -> Option<&[u8; Head::BYTES as usize]>;
    /// The beginning, as far as a network header without options reaches; `None` where the packet is
    /// shorter.
    fn head(&self) -> Option<Head>;
    /// The Ethernet header alone, in half-words; `None` where the packet is shorter.
    fn ethernet(&self) -> Option<[u16; 7]>;
    /// Five words from `offset` on; `None` where the packet is shorter.
    fn words(&self, offset: u32) -> Option<[u32; 5]>;
    /// The byte at `offset`; `None` where the packet is shorter.
    fn byte(&self, offset: u32) -> Option<u8>;
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
    fn gso_segs(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb.skb).gso_segs }
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb.skb).gso_size }
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.skb.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn linear(&self) -> Option<&[u8; Head::BYTES as usize]> {
        let start = self.data();
        // SAFETY: so many bytes lie in the linear part, which the verifier checks; bytes have no
        // alignment, and nothing writes to the packet while they are read.
        (start + Head::BYTES as usize <= self.data_end()).then(|| unsafe { &*(start as *const _) })
    }

    #[inline(always)]
    fn head(&self) -> Option<Head> {
        if let Some(bytes) = self.linear() {
            return Some(Head::from_bytes(bytes));
        }
        // The helper also finds what lies elsewhere, but a call costs several times as much.
        let mut head = Head::default();
        // SAFETY: the kernel passes a valid context, and `Head` ends `Head::BYTES` behind its padding.
        let failed = unsafe {
            let behind_padding = (&raw mut head).byte_add(PADDING).cast();
            bpf_skb_load_bytes(self.as_ptr(), 0, behind_padding, Head::BYTES)
        };
        (failed == 0).then_some(head)
    }

    #[inline(always)]
    fn ethernet(&self) -> Option<[u16; 7]> {
        self.load(0).ok()
    }

    #[inline(always)]
    fn words(&self, offset: u32) -> Option<[u32; 5]> {
        self.load(offset as usize).ok()
    }

    #[inline(always)]
    fn byte(&self, offset: u32) -> Option<u8> {
        self.load(offset as usize).ok()
    }
}

impl Packet for XdpContext {
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        // A jumbo frame lies in several pieces.
        let context: *mut xdp_md = self.ctx;
        // SAFETY: the kernel passes a valid context, and the helper only reads it.
        unsafe { bpf_xdp_get_buff_len(context) as u32 }
    }

    #[inline(always)]
    fn gso_segs(&self) -> u32 {
        // Whoever sends to an end with an XDP program has no GSO (`veth_xdp_set`).
        1
    }

    #[inline(always)]
    fn gso_size(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn is_tagged(&self) -> bool {
        // The agent sees to it that the sender puts tags into the frame.
        false
    }

    #[inline(always)]
    fn linear(&self) -> Option<&[u8; Head::BYTES as usize]> {
        None
    }

    #[inline(always)]
    fn head(&self) -> Option<Head> {
        let mut head = Head::default();
        // SAFETY: as for an skb.
        let failed = unsafe {
            let behind_padding = (&raw mut head).byte_add(PADDING).cast();
            bpf_xdp_load_bytes(self.ctx, 0, behind_padding, Head::BYTES)
        };
        (failed == 0).then_some(head)
    }

    #[inline(always)]
    fn ethernet(&self) -> Option<[u16; 7]> {
        load(self, 0)
    }

    #[inline(always)]
    fn words(&self, offset: u32) -> Option<[u32; 5]> {
        load(self, offset)
    }

    #[inline(always)]
    fn byte(&self, offset: u32) -> Option<u8> {
        load(self, offset)
    }
}

/// Whether a packet that arrives is the sender's own copy of a multicast or broadcast that it sends: it has passed no
/// cable, and has no Ethernet header (`dev_loopback_xmit`).
#[inline(always)]
#[must_use]
pub fn is_own_copy(ctx: &TcContext) -> bool {
    // SAFETY: as in `ifindex`.
    unsafe { (*ctx.skb.skb).pkt_type == PACKET_LOOPBACK }
}

/// The frame of a packet, its VLAN tag put back in where it lies beside the packet.
pub struct Whole<'a>(pub &'a TcContext);

/// Bytes of the addresses ahead of a tag, and of a tag.
const ADDRESSES: u32 = 12;
const TAG: u32 = 4;

impl Whole<'_> {
    /// Bytes, tag included.
    #[inline(always)]
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.0.bytes() + if self.0.is_tagged() { TAG } else { 0 }
    }

    /// `skb->mark`.
    #[inline(always)]
    #[must_use]
    pub fn mark(&self) -> u32 {
        // SAFETY: as in `ifindex`.
        unsafe { (*self.0.skb.skb).mark }
    }

    /// Copies bytes of the packet as the kernel holds it, from `offset` on.
    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, bytes: u32) -> bool {
        // SAFETY: the kernel passes a valid context; the caller answers for where it writes.
        unsafe { bpf_skb_load_bytes(self.0.as_ptr(), offset, to.cast(), bytes) == 0 }
    }

    /// As it goes over a wire: protocol, then tag.
    #[inline(always)]
    fn tag(&self) -> [u8; TAG as usize] {
        // SAFETY: as in `ifindex`.
        let (protocol, tag) = unsafe { ((*self.0.skb.skb).vlan_proto, (*self.0.skb.skb).vlan_tci) };
        // The protocol lies there as it goes over a wire already.
        let [p0, p1] = (protocol as u16).to_ne_bytes();
        let [t0, t1] = (tag as u16).to_be_bytes();
        [p0, p1, t0, t1]
    }
}

impl Frame for Whole<'_> {
    #[inline(always)]
    unsafe fn copy<const N: usize>(&self, to: *mut u8, bytes: u32) -> bool {
        if !self.0.is_tagged() {
            // SAFETY: the caller's promise.
            return unsafe { self.load(0, to, bytes) };
        }
        if bytes <= ADDRESSES + TAG {
            return false;
        }
        let rest = clamp::<N>(bytes - ADDRESSES - TAG);
        // SAFETY: there is room for more than addresses and tag.
        unsafe {
            self.load(0, to, ADDRESSES) && {
                to.add(ADDRESSES as usize).cast::<[u8; TAG as usize]>().write(self.tag());
                self.load(ADDRESSES, to.add((ADDRESSES + TAG) as usize), rest)
            }
        }
    }
}

/// A value of integers from a frame, in whichever of its pieces it lies.
#[inline(always)]
fn load<T: Copy + Default>(ctx: &XdpContext, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the kernel passes a valid context, and the helper writes the whole of `value`, whose
    // integers any bytes are good for.
    let failed = unsafe {
        bpf_xdp_load_bytes(ctx.ctx, offset, (&raw mut value).cast(), size_of::<T>() as u32)
    };
    (failed == 0).then_some(value)
}

/// Does to a frame what a verdict says. `false` where it cannot; the frame is then as it was.
#[inline(always)]
pub fn write(ctx: &XdpContext, rewrite: &Rewrite) -> bool {
    let store = |bytes| {
        // SAFETY: the kernel passes a valid context; the helper reads bytes of the head behind its
        // padding.
        let failed = unsafe {
            let behind_padding = (&raw const rewrite.head).byte_add(PADDING).cast_mut();
            bpf_xdp_store_bytes(ctx.ctx, 0, behind_padding.cast(), bytes)
        };
        failed == 0
    };
    // As in `send`.
    match rewrite.bytes {
        Rewrite::IPV4_BYTES => store(Rewrite::IPV4_BYTES),
        Rewrite::IPV6_BYTES => store(Rewrite::IPV6_BYTES),
        _ => true,
    }
}

/// Does to a packet what a verdict says, and gives the action code for it. `None` where the kernel
/// had no memory for the change; the packet is as it was.
#[inline(always)]
pub fn send(ctx: &TcContext, ifindex: u32, rewrite: &Rewrite) -> Option<i32> {
    // Verifiers of older kernels want to see that a length is a constant.
    match rewrite.bytes {
        Rewrite::IPV4_BYTES => overwrite(ctx, rewrite, Rewrite::IPV4_BYTES)?,
        Rewrite::IPV6_BYTES => overwrite(ctx, rewrite, Rewrite::IPV6_BYTES)?,
        _ => {}
    }
    // The far end is who it is for, whatever the frame looked like from here. What is routed is the
    // host's already, and for what is bridged nothing has been written, so nothing is half done.
    // SAFETY: as in `ifindex`.
    if unsafe { (*ctx.skb.skb).pkt_type } != PACKET_HOST {
        ctx.change_type(PACKET_HOST).ok()?;
    }
    // A mark of this namespace means nothing in another (kernels before 6.14.7 do not clear it).
    ctx.set_mark(0);
    // SAFETY: a helper without pointers.
    Some(unsafe { bpf_redirect_peer(ifindex, 0) } as i32)
}

#[inline(always)]
fn overwrite(ctx: &TcContext, rewrite: &Rewrite, bytes: u32) -> Option<()> {
    let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
    // SAFETY: the kernel passes a valid context; the helper reads bytes of the head behind its padding.
    let failed = unsafe {
        let behind_padding = (&raw const rewrite.head).byte_add(PADDING);
        bpf_skb_store_bytes(ctx.skb.skb, 0, behind_padding.cast(), bytes, flags)
    };
    (failed == 0).then_some(())
}
