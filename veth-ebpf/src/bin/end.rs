//! The `end` object: attached to both directions of an end for as long as the end is observed.
//! One instance serves one network namespace.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the functions that the macros export take no documentation")]

use aya_ebpf::{Global, macros::classifier, programs::TcContext};
use veth_common::counters::Direction;
use veth_ebpf::{TC_NEXT, observe::count::count};

/// See `veth_common::globals::NETNS_COOKIE`.
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Packets that arrive at an end.
#[classifier]
pub fn va_end_ingress(ctx: TcContext) -> i32 {
    count(&ctx, NETNS_COOKIE.load(), Direction::Rx);
    TC_NEXT
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
