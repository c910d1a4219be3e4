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
    counters::Direction,
    fastpath::{Fallback, mode},
};
use veth_ebpf::{
    TC_NEXT,
    datapath::{Verdict, decide},
    maps::{FastPath, count_fallback, counters, mode_of, redirect},
    observe::count::{Counted, add, count, look_up},
    packet::{send, write},
};

/// See `veth_common::globals::NETNS_COOKIE`.
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Packets that arrive at an end.
#[classifier]
pub fn va_end_ingress(ctx: TcContext) -> i32 {
    let netns_cookie = NETNS_COOKIE.load();
    match count(&ctx, netns_cookie, Direction::Rx) {
        Some(counted) if mode_of(counted.end.slot) == mode::TC => {
            forward(&ctx, netns_cookie, counted)
        }
        _ => TC_NEXT,
    }
}

/// Sends a packet on by the fast path, or leaves it to the stack.
#[inline(always)]
fn forward(ctx: &TcContext, netns_cookie: u64, counted: Counted) -> i32 {
    let Counted { end, counters } = counted;
    match decide(ctx, &end, &FastPath { netns_cookie, mode: mode::TC }) {
        Verdict::Redirect { ifindex, rewrite, .. } => match send(ctx, ifindex, &rewrite) {
            Some(action) => {
                counters.redirected[0] += 1;
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

/// Frames that arrive at an end whose pair's datapath is `xdp`. What goes on to the stack is counted at
/// TC.
#[xdp(frags)]
pub fn va_end_xdp(ctx: XdpContext) -> u32 {
    let netns_cookie = NETNS_COOKIE.load();
    match look_up(&ctx, netns_cookie) {
        Some(found) if mode_of(found.end.slot) == mode::XDP => {
            forward_frame(&ctx, netns_cookie, found)
        }
        _ => XDP_PASS,
    }
}

/// Sends a frame on by the fast path, or leaves it to the stack.
#[inline(always)]
fn forward_frame(ctx: &XdpContext, netns_cookie: u64, found: Counted) -> u32 {
    let Counted { end, counters } = found;
    let reason = match decide(ctx, &end, &FastPath { netns_cookie, mode: mode::XDP }) {
        Verdict::Redirect { place, rewrite, .. } => match redirect(place) {
            // Only noted down so far: it goes when the program ends, as it is then.
            Some(action) if write(ctx, &rewrite) => {
                add(&mut counters.rx, ctx);
                counters.redirected[1] += 1;
                // The kernel counts it there, too (`veth_xdp_xmit`).
                count_sent(place, ctx);
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

/// Counts a frame at the near end of its destination, which its egress hook does not see.
#[inline(always)]
fn count_sent(slot: u32, ctx: &XdpContext) {
    if let Some(counters) = counters(slot) {
        add(&mut counters.tx, ctx);
    }
}

/// Packets that leave an end.
#[classifier]
pub fn va_end_egress(ctx: TcContext) -> i32 {
    count(&ctx, NETNS_COOKIE.load(), Direction::Tx);
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
