//! Every map and program name, once. The kernel keeps at most 15 bytes of each; the common prefix
//! lets an operator find them in `bpftool prog` and `bpftool map`.

/// The prefix of every name below.
pub const PREFIX: &str = "va_";

/// TC program for packets that arrive at an end.
pub const PROGRAM_INGRESS: &str = "va_end_ingress";
/// TC program for packets that leave an end.
pub const PROGRAM_EGRESS: &str = "va_end_egress";
/// XDP program for frames that arrive at an end, ahead of TC.
pub const PROGRAM_XDP: &str = "va_end_xdp";

/// Raw tracepoint programs that stay attached over an upgrade: each goes on to the program that
/// stands in its place of [`MAP_DROP_PROGRAMS`].
pub const PROGRAM_DROPS: &str = "va_drops";
/// As [`PROGRAM_DROPS`], for refused redirects of XDP.
pub const PROGRAM_XDP_REDIRECT: &str = "va_xdp_redirect";
/// As [`PROGRAM_DROPS`], for frames of XDP that a device did not take.
pub const PROGRAM_XDP_XMIT: &str = "va_xdp_xmit";
/// Counts a packet that the kernel frees.
pub const PROGRAM_COUNT_DROP: &str = "va_count_drop";
/// Counts a refused redirect.
pub const PROGRAM_COUNT_REDIRECT: &str = "va_count_redir";
/// Counts frames that a device did not take.
pub const PROGRAM_COUNT_XMIT: &str = "va_count_xmit";

/// Hash map: [`crate::endpoint::EndKey`] to [`crate::endpoint::EndSlot`].
pub const MAP_ENDS: &str = "va_ends";
/// Per-CPU array: slot to [`crate::counters::EndCounters`].
pub const MAP_COUNTERS: &str = "va_counters";
/// Per-CPU array of one `u64`: packets of ends that have no slot.
pub const MAP_UNKNOWN: &str = "va_unknown";
/// Array: slot to [`crate::config::EndConfig`].
pub const MAP_CONFIGS: &str = "va_configs";
/// Hash map: [`crate::fastpath::EndpointKey`] to [`crate::fastpath::Endpoint`].
pub const MAP_ENDPOINTS: &str = "va_endpoints";
/// Device map: a place to the index of a near end, as long as the device lives. For TC programs.
pub const MAP_DEVICES: &str = "va_devices";
/// The same for XDP programs: the kernel lets programs of one type alone have a device map
/// (`bpf_prog_map_compatible`, `kernel/bpf/core.c`).
pub const MAP_XDP_DEVICES: &str = "va_xdp_devices";
/// Array of one `u64`: until when, in ns of `CLOCK_MONOTONIC`, the fast path may be taken.
pub const MAP_LEASE: &str = "va_lease";
/// Per-CPU hash map: slot to [`crate::fastpath::Fallbacks`], for ends of the fast path.
pub const MAP_FALLBACKS: &str = "va_fallbacks";
/// Per-CPU hash map: slot to [`crate::mtu::MtuCounters`].
pub const MAP_MTU: &str = "va_mtu";
/// Hash map: [`crate::mtu::AddressKey`] to a `u32` that says nothing.
pub const MAP_ADDRESSES: &str = "va_addresses";
/// Hash map: [`crate::endpoint::EndKey`] of the end that sends to [`crate::ledger::Base`].
pub const MAP_LEDGER: &str = "va_ledger";
/// Hash map: [`crate::endpoint::EndKey`] to [`crate::journal::Journal`].
pub const MAP_JOURNAL: &str = "va_journal";
/// Per-CPU hash map: [`crate::drops::DropKey`] to [`crate::drops::DropCount`].
pub const MAP_DROP_COUNTS: &str = "va_drop_counts";
/// Per-CPU array of one `u64`: packets that were freed and found no room in [`MAP_DROP_COUNTS`].
pub const MAP_DROPS_LOST: &str = "va_drops_lost";
/// Program array: which program counts, by [`crate::drops::DropProgram`].
pub const MAP_DROP_PROGRAMS: &str = "va_drop_progs";

/// Sees what arrives at an end, for a trace.
pub const PROGRAM_TRACE_IN: &str = "va_trace_in";
/// Sees what leaves an end, for a trace.
pub const PROGRAM_TRACE_OUT: &str = "va_trace_out";
/// What the programs of traces begin with.
pub const TRACE_PREFIX: &str = "va_trace_";
/// Array of maps: a ring for each CPU.
pub const MAP_TRACE_RINGS: &str = "VA_TRACE_RINGS";
/// Per-CPU array: [`crate::trace::Source`] to [`crate::trace::Seen`].
pub const MAP_TRACE_SEEN: &str = "va_trace_seen";
/// Queue of so many words as packets may be recorded, where there is a limit.
pub const MAP_TRACE_PLACES: &str = "va_trace_places";
/// Array of one `u32`: 1 when all places are taken.
pub const MAP_TRACE_OVER: &str = "va_trace_over";
/// Sees what the kernel frees, for a trace.
pub const PROGRAM_TRACE_DROP: &str = "va_trace_drop";
/// Hash map: [`crate::endpoint::EndKey`] of the ends that a trace looks at to a `u32` that says nothing.
pub const MAP_TRACE_ENDS: &str = "va_trace_ends";
/// Array of [`crate::trace::NormalEnd`].
pub const MAP_TRACE_NORMAL: &str = "va_trace_normal";
/// Per-CPU array: room for the beginning of a frame, by [`crate::trace::Source`].
pub const MAP_TRACE_ROOM: &str = "va_trace_room";
/// The function, not a program, whose body the agent replaces: the filter of packets at a hook of TC.
pub const FILTER_PACKET: &str = "va_filter_packet";
/// The same filter for bytes in a map.
pub const FILTER_BYTES: &str = "va_filter_bytes";
