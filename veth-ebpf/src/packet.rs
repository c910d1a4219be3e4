//! The only place that reads the kernel's packet context.

use aya_ebpf::{
    bindings::{BPF_F_RECOMPUTE_CSUM, xdp_md},
    helpers::{bpf_redirect_peer, generated::bpf_xdp_get_buff_len},
    programs::{TcContext, XdpContext},
};

use crate::datapath::Rewrite;

/// `PACKET_HOST`, `include/uapi/linux/if_packet.h`.
const PACKET_HOST: u32 = 0;

/// What the programs ask of a packet.
pub trait Packet {
    /// Index of the interface that the packet arrives at or leaves by.
    fn ifindex(&self) -> u32;
    /// Bytes, Ethernet header included; of a GSO packet, all of its segments together.
    fn bytes(&self) -> u32;
    /// Frames that a wire would carry for this packet, at least 1.
    fn segments(&self) -> u32;
    /// Payload of one segment; 0 for a packet that is not GSO.
    fn gso_size(&self) -> u32;
    /// Whether a VLAN tag lies beside the packet.
    fn is_tagged(&self) -> bool;
    /// `N` bytes from `offset` on, `None` where the packet is shorter.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
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
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // The helper also finds what lies outside the linear part.
        self.load::<[u8; N]>(offset as usize).ok()
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
    fn segments(&self) -> u32 {
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
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = self.data() + offset as usize;
        if start + N > self.data_end() {
            return None;
        }
        // SAFETY: these bytes lie in the frame's first piece, which the verifier checks; an array of
        // bytes has no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }
}

/// Does to a frame what a verdict says. `false` where its beginning lies elsewhere; it is then as it
/// was.
#[inline(always)]
pub fn write(ctx: &XdpContext, rewrite: &Rewrite) -> bool {
    match rewrite {
        Rewrite::Nothing => true,
        Rewrite::V4(bytes) => overwrite(ctx, bytes),
        Rewrite::V6(bytes) => overwrite(ctx, bytes),
    }
}

#[inline(always)]
fn overwrite<const N: usize>(ctx: &XdpContext, bytes: &[u8; N]) -> bool {
    let start = ctx.data();
    if start + N > ctx.data_end() {
        return false;
    }
    // SAFETY: as in `read`, and the frame is this program's until it returns.
    unsafe { *(start as *mut [u8; N]) = *bytes };
    true
}

/// Does to a packet what a verdict says, and gives the action code for it. `None` where the kernel
/// had no memory for the change; the packet is as it was.
#[inline(always)]
pub fn send(ctx: &TcContext, ifindex: u32, rewrite: &Rewrite) -> Option<i32> {
    let written = match rewrite {
        Rewrite::Nothing => Ok(()),
        Rewrite::V4(bytes) => ctx.store(0, bytes, u64::from(BPF_F_RECOMPUTE_CSUM)),
        Rewrite::V6(bytes) => ctx.store(0, bytes, u64::from(BPF_F_RECOMPUTE_CSUM)),
    };
    written.ok()?;
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
