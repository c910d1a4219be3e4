//! Where the filter of a trace goes. The agent translates it, and writes it over the bodies of these two
//! functions before they are loaded. What stands in them here is of no use but for its length; it never runs.

use core::ptr;

use aya_ebpf::bindings::__sk_buff;
use veth_common::trace::Source;

use crate::{
    packet::{Packet as _, Whole},
    trace_maps::{Frame, SCRATCH, clamp, scratch},
};

/// Repeats an expression 2,048 times: at least as many instructions.
macro_rules! reserve {
    ($work:expr) => { reserve!(@8 reserve!(@16 reserve!(@16 $work))) };
    (@16 $($work:tt)+) => {{
        reserve!(@8 $($work)+);
        reserve!(@8 $($work)+);
    }};
    (@8 $($work:tt)+) => {{
        $($work)+; $($work)+; $($work)+; $($work)+; $($work)+; $($work)+; $($work)+; $($work)+;
    }};
}

/// Whether the filter takes a packet without a VLAN tag beside it; other than zero where it does.
#[inline(never)]
fn va_filter_packet(packet: *mut __sk_buff) -> u32 {
    // SAFETY: the context that the kernel has passed.
    unsafe {
        let length = &raw const (*packet).len;
        reserve!(ptr::read_volatile(length));
        ptr::read_volatile(length)
    }
}

/// Whether the filter takes a frame of so many bytes, of which so many are there; other than zero where it
/// does.
#[inline(never)]
fn va_filter_bytes(frame: *const u8, length: u32, captured: u32) -> u32 {
    let mut kept = 0;
    // All arguments are used, or the linker would leave them out.
    // SAFETY: a local variable, and the scratch of this CPU.
    unsafe {
        ptr::write_volatile(&raw mut kept, length);
        ptr::write_volatile(&raw mut kept, captured);
        reserve!(ptr::read_volatile(frame));
        ptr::read_volatile(&raw const kept)
    }
}

/// What a trace wants to see.
#[derive(Clone, Copy)]
pub struct Filter {
    /// How far into a frame the filter may look, in bytes; 0 where there is none.
    pub reach: u32,
}

impl Filter {
    /// Whether it takes a packet at a hook of TC.
    #[inline(always)]
    #[must_use]
    pub fn takes(self, packet: &Whole<'_>) -> bool {
        if self.reach == 0 {
            return true;
        }
        if packet.0.is_tagged() {
            let length = packet.bytes();
            return self.takes_bytes(Source::Ends, packet, length, length);
        }
        va_filter_packet(packet.0.skb.skb) != 0
    }

    /// Whether it takes a frame of `length` bytes, `there` of which can be read.
    #[inline(always)]
    #[must_use]
    pub fn takes_bytes(self, source: Source, frame: &impl Frame, length: u32, there: u32) -> bool {
        if self.reach == 0 {
            return true;
        }
        let Some(room) = scratch(source) else { return false };
        let wanted = there.min(self.reach);
        // SAFETY: the scratch has room for so many bytes, and this CPU uses it for nothing else.
        let copied =
            wanted > 0 && unsafe { frame.copy::<SCRATCH>(room.cast(), clamp::<SCRATCH>(wanted)) };
        va_filter_bytes(room.cast(), length, if copied { wanted } else { 0 }) != 0
    }
}
