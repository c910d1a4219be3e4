//! The `trace` object: on the ends for as long as somebody looks. One instance serves one network
//! namespace.
#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the functions that the macros export take no documentation")]

use aya_ebpf::{
    EbpfContext as _, Global,
    helpers::bpf_ktime_get_ns,
    macros::{classifier, raw_tracepoint},
    programs::{RawTracePointContext, TcContext},
};
use veth_common::trace::{Event, MAX_CAPTURED, Source, kind};
use veth_ebpf::{
    TC_NEXT,
    filter::Filter,
    kernel::Running,
    observe::{
        count::segments,
        drops::Freed,
        freed::{Wanted, freed},
        look::{Sight, look},
        sender::{Process, sender},
    },
    offsets,
    packet::{Packet as _, Whole, is_own_copy},
    trace_maps::Frame,
};

/// See `veth_common::globals::NETNS_COOKIE`.
#[unsafe(no_mangle)]
static NETNS_COOKIE: Global<u64> = Global::new(0);

/// Bytes of a frame that are captured, at the most.
#[unsafe(no_mangle)]
static SNAPLEN: Global<u32> = Global::new(128);

/// Whether only so many packets are recorded as there are places for.
#[unsafe(no_mangle)]
static LIMITED: Global<u32> = Global::new(0);

/// See `veth_common::globals::FILTER_REACH`.
#[unsafe(no_mangle)]
static FILTER_REACH: Global<u32> = Global::new(0);

/// See `veth_common::globals::PROCESSES`.
#[unsafe(no_mangle)]
static PROCESSES: Global<u32> = Global::new(0);

#[classifier]
pub fn va_trace_in(ctx: TcContext) -> i32 {
    if is_own_copy(&ctx) { TC_NEXT } else { see(&ctx, kind::IN) }
}

#[classifier]
pub fn va_trace_out(ctx: TcContext) -> i32 {
    see(&ctx, kind::OUT)
}

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
    SharedSegmentBytes SHARED_SIZE,
    SkbData SKB_DATA,
    SkbTail SKB_TAIL,
    SkbLen SKB_LEN,
    SkbMacHeader SKB_MAC_HEADER,
    SkbNetworkHeader SKB_NETWORK_HEADER,
    SkbProtocol SKB_PROTOCOL,
    SkbVlan SKB_VLAN,
    SkbMark SKB_MARK,
    TaskNsproxy TASK_NSPROXY,
    TaskTgid TASK_TGID,
    TaskComm TASK_COMM,
    TaskMm TASK_MM,
    NsproxyNet NSPROXY_NET,
);

/// `skb:kfree_skb`: the packet, where, why.
#[raw_tracepoint]
pub fn va_trace_drop(ctx: RawTracePointContext) -> i32 {
    let lost = Freed { skb: ctx.arg(0), location: ctx.arg(1), reason: ctx.arg::<u64>(2) as u32 };
    let (snaplen, limited, filter) = (SNAPLEN.load(), LIMITED.load() != 0, filter());
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    freed(&Running(offset), lost, &Wanted { snaplen, limited, filter, now });
    0
}

#[inline(always)]
fn filter() -> Filter {
    Filter { reach: FILTER_REACH.load() }
}

#[inline(always)]
fn see(ctx: &TcContext, kind: u32) -> i32 {
    look(&Passing { packet: Whole(ctx), kind }, LIMITED.load() != 0);
    TC_NEXT
}

/// A packet at a hook of TC.
struct Passing<'a> {
    packet: Whole<'a>,
    kind: u32,
}

impl Sight for Passing<'_> {
    const SOURCE: Source = Source::Ends;

    #[inline(always)]
    fn frame(&self) -> &impl Frame {
        &self.packet
    }

    #[inline(always)]
    fn is_wanted(&self) -> bool {
        filter().takes(&self.packet)
    }

    #[inline(always)]
    fn event(&self) -> Event {
        let Whole(ctx) = self.packet;
        let length = self.packet.bytes();
        let asked = self.kind == kind::OUT && PROCESSES.load() != 0;
        let sender = if asked { sender(&Running(offset), ctx.as_ptr() as u64) } else { None };
        let Process { pid, comm } = sender.unwrap_or_else(Process::unknown);
        Event {
            // SAFETY: a helper without arguments.
            time: unsafe { bpf_ktime_get_ns() },
            packet: ctx.as_ptr() as u64,
            netns_cookie: NETNS_COOKIE.load(),
            location: 0,
            ifindex: ctx.ifindex(),
            length,
            captured: length.min(SNAPLEN.load()).min(MAX_CAPTURED),
            segments: segments(ctx),
            gso_size: ctx.gso_size(),
            mark: self.packet.mark(),
            reason: 0,
            pid,
            comm,
            kind: self.kind,
            bare: 0,
        }
    }
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
