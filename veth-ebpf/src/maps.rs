//! The maps of the `end` object and safe access to them. The agent makes and pins them, and sets
//! their capacity, before it loads an object.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use veth_common::{
    counters::EndCounters,
    endpoint::{EndKey, EndSlot},
};

#[map(name = "va_ends")]
static ENDS: HashMap<EndKey, EndSlot> = HashMap::with_max_entries(8192, 0);

#[map(name = "va_counters")]
static COUNTERS: PerCpuArray<EndCounters> = PerCpuArray::with_max_entries(8192, 0);

#[map(name = "va_unknown")]
static UNKNOWN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The slot of an end, if the agent has given it one.
#[inline(always)]
pub fn slot(key: &EndKey) -> Option<u32> {
    // SAFETY: the agent writes an entry once, before it attaches the end's programs, and deletes
    // it after they are gone; a reader in between sees a whole value, and a stale slot is only a
    // wrong index into an array whose bounds the kernel checks.
    unsafe { ENDS.get(key) }.map(|end| end.slot)
}

/// This CPU's counters of `slot`.
#[inline(always)]
pub fn counters(slot: u32) -> Option<&'static mut EndCounters> {
    // SAFETY: TC programs run with bottom halves off, so nothing else on this CPU touches this
    // CPU's copy while the reference lives, and no entry point takes a second one.
    COUNTERS.get_ptr_mut(slot).map(|counters| unsafe { &mut *counters })
}

/// Counts a packet of an end that has no slot.
#[inline(always)]
pub fn count_unknown() {
    if let Some(unknown) = UNKNOWN.get_ptr_mut(0) {
        // SAFETY: as in `counters`.
        unsafe { *unknown += 1 };
    }
}
