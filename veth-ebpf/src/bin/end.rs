//! The `end` object: attached to both directions of an end for as long as the end is observed.
//! One instance serves one network namespace.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the functions that the macros export take no documentation")]

use aya_ebpf::{
    Global,
    bindings::xdp_action::XDP_PASS,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use veth_common::{
    config::EndConfig,
    counters::{Direction, EndCounters},
    endpoint::EndSlot,
    fastpath::{Fallback, mode},
    mtu::Figure,
};
use veth_ebpf::{
    TC_NEXT,
    datapath::{Verdict, decide},
    maps::{FastPath, MtuOf, config, count_fallback, counters, redirect},
    observe::{
        count::{Counted, count, look_up},
        mtu::{Figures as _, exceeds, observe},
    },
    packet::{Packet as _, is_own_copy, send, write},
};

/// See `veth_common::globals::NETNS_COOKIE`.
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Packets that arrive at an end.
#[classifier]
pub fn va_end_ingress(ctx: TcContext) -> i32 {
    if is_own_copy(&ctx) {
        return TC_NEXT;
    }
    let netns_cookie = NETNS_COOKIE.load();
    let Some(counted) = count(&ctx, netns_cookie, Direction::Rx) else { return TC_NEXT };
    let slot = counted.end.slot;
    let config = config(slot);
    observe(&ctx, Direction::Rx, config.limits.rx, &MtuOf { netns_cookie, slot });
    match config.mode {
        mode::TC => forward(&ctx, netns_cookie, counted),
        _ => TC_NEXT,
    }
}

/// Sends a packet on by the fast path, or leaves it to the stack.
#[inline(always)]
fn forward(ctx: &TcContext, netns_cookie: u64, counted: Counted) -> i32 {
    let Counted { end, counters, segments } = counted;
    match decide(ctx, &end, &FastPath { netns_cookie, mode: mode::TC }) {
        Verdict::Redirect { ifindex, place, rewrite } => match send(ctx, ifindex, &rewrite) {
            Some(action) => {
                counters.redirected[0] += 1;
                count_redirected_in(place, segments);
                action
            }
            None => {
                count_fallback(end.slot, Fallback::Memory);
                TC_NEXT
            }
        },
        Verdict::Stack(reason) => {
            count_fallback(end.slot, reason);
            TC_NEXT
        }
    }
}

/// Counts the segments of a packet at the near end of its destination, whose egress hook does not see it.
#[inline(always)]
fn count_redirected_in(slot: u32, segments: u32) {
    if let Some(counters) = counters(slot) {
        counters.redirected_in += u64::from(segments);
    }
}

/// Frames that arrive at an end whose pair's datapath is `xdp`. What goes on to the stack is counted at
/// TC.
#[xdp(frags)]
pub fn va_end_xdp(ctx: XdpContext) -> u32 {
    let netns_cookie = NETNS_COOKIE.load();
    match look_up(&ctx, netns_cookie) {
        Some((end, counters)) => {
            let EndConfig { mode, limits } = config(end.slot);
            match mode {
                mode::XDP => forward_frame(&ctx, netns_cookie, end, counters, limits.rx),
                _ => XDP_PASS,
            }
        }
        None => XDP_PASS,
    }
}

/// Sends a frame on by the fast path, or leaves it to the stack.
#[inline(always)]
fn forward_frame(
    ctx: &XdpContext,
    netns_cookie: u64,
    end: EndSlot,
    counters: &mut EndCounters,
    limit: u32,
) -> u32 {
    let reason = match decide(ctx, &end, &FastPath { netns_cookie, mode: mode::XDP }) {
        Verdict::Redirect { place, rewrite, .. } => match redirect(place) {
            // Only noted down so far: it goes when the program ends, as it is then.
            Some(action) if write(ctx, &rewrite) => {
                let bytes = ctx.bytes();
                counters.rx.add(bytes, 1);
                counters.redirected[1] += 1;
                // The kernel counts it there, too (`veth_xdp_xmit`).
                count_sent(place, bytes);
                if exceeds(bytes, limit) {
                    MtuOf { netns_cookie, slot: end.slot }.count(Figure::Oversize(Direction::Rx));
                }
                return action;
            }
            Some(_) => Fallback::Memory,
            None => Fallback::Gone,
        },
        Verdict::Stack(reason) => reason,
    };
    count_fallback(end.slot, reason);
    XDP_PASS
}

/// Counts a frame of `bytes` at the near end of its destination, whose egress hook does not see it.
#[inline(always)]
fn count_sent(slot: u32, bytes: u32) {
    if let Some(counters) = counters(slot) {
        counters.tx.add(bytes, 1);
    }
}

/// Packets that leave an end.
#[classifier]
pub fn va_end_egress(ctx: TcContext) -> i32 {
    let netns_cookie = NETNS_COOKIE.load();
    if let Some(Counted { end, .. }) = count(&ctx, netns_cookie, Direction::Tx) {
        let slot = end.slot;
        observe(&ctx, Direction::Tx, config(slot).limits.tx, &MtuOf { netns_cookie, slot });
    }
    TC_NEXT
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
