//! Every map and program name, once. The kernel keeps at most 15 bytes of each; the common prefix
//! lets an operator find them in `bpftool prog` and `bpftool map`.

/// The prefix of every name below.
pub const PREFIX: &str = "va_";

/// TC program for packets that arrive at an end.
pub const PROGRAM_INGRESS: &str = "va_end_ingress";
/// TC program for packets that leave an end.
pub const PROGRAM_EGRESS: &str = "va_end_egress";

/// Hash map: [`crate::endpoint::EndKey`] to [`crate::endpoint::EndSlot`].
pub const MAP_ENDS: &str = "va_ends";
/// Per-CPU array: slot to [`crate::counters::EndCounters`].
pub const MAP_COUNTERS: &str = "va_counters";
/// Per-CPU array of one `u64`: packets of ends that have no slot.
pub const MAP_UNKNOWN: &str = "va_unknown";
/// Hash map: [`crate::endpoint::EndKey`] to [`crate::journal::Journal`].
pub const MAP_JOURNAL: &str = "va_journal";
