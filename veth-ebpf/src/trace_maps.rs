//! The maps of the `trace` object and safe access to them, beside [`crate::maps`]. Each trace has its own.

use core::ptr;

use aya_ebpf::{
    btf_maps::{ArrayOfMaps, RingBuf},
    helpers::generated::bpf_get_smp_processor_id,
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray, Queue},
};
use veth_common::{
    endpoint::EndKey,
    trace::{Event, FILTER_REACH, NormalEnd, Seen, Source},
};

use crate::observe::drops::Freed;

type Ring = RingBuf<u64, 4096>;

/// A ring for each CPU: one that many write to collapses.
#[btf_map]
static VA_TRACE_RINGS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

/// By [`Source`].
#[map(name = "va_trace_seen")]
static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(Source::ALL.len() as u32, 0);

/// A place for each packet that may be recorded, where there is a limit: to put something into a queue is
/// what two CPUs cannot both do last. (This target has no atomic instruction that gives a value back.)
#[map(name = "va_trace_places")]
static PLACES: Queue<u32> = Queue::with_max_entries(1, 0);

/// One word: whether all of them are taken.
#[map(name = "va_trace_over")]
static OVER: Array<u32> = Array::with_max_entries(1, 0);

/// Where packets may be lost: ends and bridges, and whether they are watched.
#[map(name = "va_trace_ends")]
static ENDS: HashMap<EndKey, u32> = HashMap::with_max_entries(8192, 1);

/// How packets end whose work is done; those that are not used have no places.
#[map(name = "va_trace_normal")]
static NORMAL: Array<NormalEnd> = Array::with_max_entries(NormalEnd::MOST, 0);

/// Room for the beginning of a frame, by [`Source`].
#[map(name = "va_trace_room")]
static ROOM: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(Source::ALL.len() as u32, 0);

/// Bytes of a frame that a filter can look at where it cannot look at the packet itself: a power of two.
pub const SCRATCH: usize = FILTER_REACH as usize;

type Scratch = [u8; SCRATCH + SLACK];

/// Where this CPU copies the beginning of a frame to.
#[inline(always)]
#[must_use]
pub fn scratch(source: Source) -> Option<*mut u8> {
    Some(ROOM.get_ptr_mut(source as u32)?.cast())
}

/// Whether what is lost at an end or a bridge is to be shown; `None` where it is not known.
#[inline(always)]
pub fn is_watched(place: &EndKey) -> Option<bool> {
    // SAFETY: a word that the agent has written before the program was loaded.
    ENDS.get_ptr(place).map(|watched| unsafe { *watched } != 0)
}

/// Whether a packet that is freed like this, and came to a group or to all or not, has done its work.
#[inline(always)]
pub fn is_normal(freed: &Freed, is_to_group: bool) -> bool {
    for at in 0..NormalEnd::MOST {
        let Some(end) = NORMAL.get(at) else { return false };
        if end.places() == 0 {
            return false;
        }
        if end.holds(freed.reason, freed.location, is_to_group) {
            return true;
        }
    }
    false
}

/// An event, and room for `N` bytes of the frame and a few more.
#[repr(C)]
struct Record<const N: usize> {
    event: Event,
    frame: [u8; N],
    /// A frame is copied in pieces, the last of which a verifier takes to be as long as the whole.
    slack: [u8; SLACK],
}

/// How far into a frame its last piece may begin, in bytes.
pub const SLACK: usize = 16;

/// Writes the bytes of a frame to where it is told, as many as it is told: at least one.
pub trait Frame {
    /// `false` where they cannot be had. `bytes` is at most `N`, a power of two.
    ///
    /// # Safety
    /// `N` bytes can be written there, and [`SLACK`] more.
    unsafe fn copy<const N: usize>(&self, to: *mut u8, bytes: u32) -> bool;
}

/// The same number, below `N`, so that a verifier sees it. It is already; that the compiler must not know,
/// or it leaves the limit out.
#[inline(always)]
#[must_use]
pub fn below<const N: usize>(bytes: u32) -> u32 {
    // SAFETY: a local variable.
    unsafe { ptr::read_volatile(&raw const bytes) & (N as u32 - 1) }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the ring.
    Recorded,
    /// The ring is full.
    Full,
    /// As many as were asked for had been recorded before.
    Over,
}

/// What this CPU has counted; nothing else touches it meanwhile.
#[inline(always)]
pub fn seen(source: Source) -> Option<&'static mut Seen> {
    let seen = SEEN.get_ptr_mut(source as u32)?;
    // SAFETY: an array's elements are never freed, and on this CPU nothing runs meanwhile that counts for
    // this source: bottom halves are off at the hooks of TC, and a tracepoint does not call a program that
    // runs already.
    Some(unsafe { &mut *seen })
}

/// Whether as many as were asked for have been recorded.
#[inline(always)]
pub fn is_over() -> bool {
    // SAFETY: a word that is read whole; one that is just being written is as good before as after.
    OVER.get_ptr(0).is_some_and(|over| unsafe { ptr::read_volatile(over) } != 0)
}

/// Takes one of the places; `false` where none is left.
#[inline(always)]
fn take_place() -> bool {
    if PLACES.push(0, 0).is_ok() {
        return true;
    }
    if let Some(over) = OVER.get_ptr_mut(0) {
        // SAFETY: whoever writes this word writes the same.
        unsafe { ptr::write_volatile(over, 1) };
    }
    false
}

/// Records an event with the first `event.captured` bytes of its frame; `limited`, if there is a place.
#[inline(always)]
pub fn record(event: &Event, frame: &impl Frame, limited: bool) -> Outcome {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(ring) = VA_TRACE_RINGS.get(cpu) else { return Outcome::Full };
    // Verifiers want to see that what is reserved is a constant.
    match event.captured {
        0..=128 => put::<128>(ring, event, frame, limited),
        129..=512 => put::<512>(ring, event, frame, limited),
        513..=2048 => put::<2048>(ring, event, frame, limited),
        2049..=16384 => put::<16384>(ring, event, frame, limited),
        _ => put::<65536>(ring, event, frame, limited),
    }
}

#[inline(always)]
fn put<const N: usize>(ring: &Ring, event: &Event, frame: &impl Frame, limited: bool) -> Outcome {
    let Some(mut entry) = ring.reserve_untyped::<Record<N>>(0) else { return Outcome::Full };
    let record: *mut Record<N> = entry.as_mut_ptr();
    // SAFETY: the record is this program's alone until it is handed over; its frame has room for `N`
    // bytes, and `captured` is brought below that.
    unsafe {
        (&raw mut (*record).event).write(*event);
        if event.captured > 0 {
            let to = (&raw mut (*record).frame).cast();
            if !frame.copy::<N>(to, clamp::<N>(event.captured)) {
                (&raw mut (*record).event.captured).write(0);
            }
        }
    }
    if !limited || take_place() {
        // The reader looks by itself: to wake it costs more than the packet.
        entry.submit(u64::from(aya_ebpf::bindings::BPF_RB_NO_WAKEUP));
        Outcome::Recorded
    } else {
        entry.discard(u64::from(aya_ebpf::bindings::BPF_RB_NO_WAKEUP));
        Outcome::Over
    }
}

/// The same number, between 1 and `N`, so that a verifier sees it; older ones learn nothing from a number that is
/// not zero. It is there already; see [`below`].
#[inline(always)]
#[must_use]
pub fn clamp<const N: usize>(captured: u32) -> u32 {
    below::<N>(captured.wrapping_sub(1)) + 1
}
