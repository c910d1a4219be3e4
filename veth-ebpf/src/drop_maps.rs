//! The maps of the `drops` object and safe access to them, beside [`crate::maps`]. The agent makes
//! and pins them.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap, ProgramArray},
};
use veth_common::{
    drops::{DropCount, DropKey, DropProgram},
    endpoint::EndKey,
};

use crate::{maps, observe::drops::Tables};

#[map(name = "va_drop_counts")]
static DROP_COUNTS: PerCpuHashMap<DropKey, DropCount> =
    PerCpuHashMap::with_max_entries(32_768, BPF_F_NO_PREALLOC);

#[map(name = "va_drops_lost")]
static DROPS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map(name = "va_drop_progs")]
static DROP_PROGRAMS: ProgramArray =
    ProgramArray::with_max_entries(DropProgram::ALL.len() as u32, 0);

/// Goes on to the program that counts, if there is one. This one stays attached while that one is
/// replaced, which the kernel does in one step: each event is counted by the one or by the other.
#[inline(always)]
pub fn go_on<C: EbpfContext>(ctx: &C, program: DropProgram) {
    // SAFETY: nothing here waits to be dropped.
    unsafe { DROP_PROGRAMS.tail_call(ctx, program as u32) };
}

/// The pinned maps.
pub struct Pinned;

impl Tables for Pinned {
    #[inline(always)]
    fn add(&self, key: &DropKey, count: DropCount) -> bool {
        let Some(counted) = DROP_COUNTS.get_ptr_mut(key) else { return false };
        // SAFETY: the kernel frees an element of a map that is not preallocated only when no program
        // reads it any more. On this CPU nothing else touches this CPU's copy: a packet that an interrupt
        // frees meanwhile does not come here, and the kernel counts that (`bpf_prog_run` of raw
        // tracepoints, Linux 6.1; before, one of the two may be lost).
        unsafe { *counted = (*counted).plus(count) };
        true
    }

    #[inline(always)]
    fn begin(&self, key: &DropKey, count: DropCount) -> bool {
        DROP_COUNTS.insert(key, count, u64::from(BPF_NOEXIST)).is_ok()
    }

    #[inline(always)]
    fn is_end(&self, end: &EndKey) -> bool {
        maps::end(end).is_some()
    }

    #[inline(always)]
    fn lose(&self, packets: u64) {
        if let Some(lost) = DROPS_LOST.get_ptr_mut(0) {
            // SAFETY: as in `add`; an array's elements are never freed.
            unsafe { *lost += packets };
        }
    }
}
