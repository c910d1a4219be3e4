//! The `drops` object: attached once per node to the tracepoints that tell of packets lost. One half
//! of its programs is attached and goes on to the other half, which counts and can be replaced.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the functions that the macros export take no documentation")]

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use veth_common::drops::{DropProgram, place};
use veth_ebpf::{
    drop_maps::{Pinned, go_on},
    kernel::{Memory, Running},
    observe::drops::{Freed, frames, packet},
    offsets,
};

// See `veth_common::drops::Field`.
offsets!(
    SkbDev SKB_DEV,
    SkbSk SKB_SK,
    SkbDst SKB_DST,
    SkbIif SKB_IIF,
    SkbHead SKB_HEAD,
    SkbEnd SKB_END,
    DeviceIfindex DEVICE_IFINDEX,
    DeviceNet DEVICE_NET,
    NetCookie NET_COOKIE,
    DstDev DST_DEV,
    SockNet SOCK_NET,
    SharedSegments SHARED_SEGMENTS,
    SkbPacketType SKB_PACKET_TYPE,
    ; _
);

#[inline(always)]
fn memory() -> impl Memory {
    Running(offset)
}

/// `skb:kfree_skb`: the packet, where, why.
#[raw_tracepoint]
pub fn va_drops(ctx: RawTracePointContext) -> i32 {
    go_on(&ctx, DropProgram::Packets);
    0
}

/// `xdp:xdp_redirect_err`: the device, the program, the target, the error.
#[raw_tracepoint]
pub fn va_xdp_redirect(ctx: RawTracePointContext) -> i32 {
    go_on(&ctx, DropProgram::Redirects);
    0
}

/// `xdp:xdp_devmap_xmit`: the device that frames come from, the one that they go to, how many it took
/// and how many not, the error.
#[raw_tracepoint]
pub fn va_xdp_xmit(ctx: RawTracePointContext) -> i32 {
    if ctx.arg::<u64>(3) as u32 != 0 {
        go_on(&ctx, DropProgram::Transmits);
    }
    0
}

#[raw_tracepoint]
pub fn va_count_drop(ctx: RawTracePointContext) -> i32 {
    let freed = Freed { skb: ctx.arg(0), location: ctx.arg(1), reason: ctx.arg::<u64>(2) as u32 };
    packet(&memory(), &Pinned, freed);
    0
}

#[raw_tracepoint]
pub fn va_count_redir(ctx: RawTracePointContext) -> i32 {
    let error = ctx.arg::<u64>(3) as i32;
    frames(&memory(), &Pinned, ctx.arg(0), place::XDP_REDIRECT, 1, error);
    0
}

#[raw_tracepoint]
pub fn va_count_xmit(ctx: RawTracePointContext) -> i32 {
    let (lost, error) = (ctx.arg::<u64>(3) as u32, ctx.arg::<u64>(4) as i32);
    frames(&memory(), &Pinned, ctx.arg(1), place::XDP_XMIT, u64::from(lost), error);
    0
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier rejects an endless loop: no object with a reachable panic loads.
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
