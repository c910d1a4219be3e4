//! The maps of the `end` object and safe access to them. The agent makes and pins them, and sets
//! their capacity, before it loads an object.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::map,
    maps::{Array, DevMap, HashMap, PerCpuArray, PerCpuHashMap},
};
use veth_common::{
    config::EndConfig,
    counters::EndCounters,
    endpoint::{EndKey, EndSlot},
    fastpath::{Address, Endpoint, EndpointKey, Fallback, Fallbacks, mode},
    mtu::{AddressKey, Figure, MtuCounters},
};

use crate::{datapath::Tables, observe::mtu::Figures};

#[map(name = "va_ends")]
static ENDS: HashMap<EndKey, EndSlot> = HashMap::with_max_entries(8192, 0);

#[map(name = "va_counters")]
static COUNTERS: PerCpuArray<EndCounters> = PerCpuArray::with_max_entries(8192, 0);

#[map(name = "va_unknown")]
static UNKNOWN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map(name = "va_configs")]
static CONFIGS: Array<EndConfig> = Array::with_max_entries(8192, 0);

#[map(name = "va_endpoints")]
static ENDPOINTS: HashMap<EndpointKey, Endpoint> = HashMap::with_max_entries(8192, 0);

#[map(name = "va_devices")]
static DEVICES: DevMap = DevMap::with_max_entries(8192, 0);

#[map(name = "va_xdp_devices")]
static XDP_DEVICES: DevMap = DevMap::with_max_entries(8192, 0);

#[map(name = "va_lease")]
static LEASE: Array<u64> = Array::with_max_entries(1, 0);

#[map(name = "va_fallbacks")]
static FALLBACKS: PerCpuHashMap<u32, Fallbacks> = PerCpuHashMap::with_max_entries(8192, 1);

#[map(name = "va_mtu")]
static MTU: PerCpuHashMap<u32, MtuCounters> = PerCpuHashMap::with_max_entries(8192, 1);

#[map(name = "va_addresses")]
static ADDRESSES: HashMap<AddressKey, u32> = HashMap::with_max_entries(8192, 1);

/// What the agent knows of an end, if it has given it a slot.
#[inline(always)]
pub fn end(key: &EndKey) -> Option<EndSlot> {
    // SAFETY: the agent writes an entry once, before it attaches the end's programs, and deletes
    // it after they are gone; a reader in between sees a whole value, and a stale slot is only a
    // wrong index into an array whose bounds the kernel checks.
    unsafe { ENDS.get(key) }.copied()
}

/// What the agent says of a slot's end.
#[inline(always)]
pub fn config(slot: u32) -> EndConfig {
    CONFIGS.get(slot).copied().unwrap_or_default()
}

/// The tables of the fast path, for the programs of one namespace.
pub struct FastPath {
    /// Cookie of the namespace.
    pub netns_cookie: u64,
    /// One of [`mode`]: by which programs.
    pub mode: u32,
}

impl Tables for FastPath {
    #[inline(always)]
    fn leased(&self) -> bool {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        LEASE.get(0).is_some_and(|until| now < *until)
    }

    #[inline(always)]
    fn endpoint(&self, address: Address) -> Option<Endpoint> {
        let key = EndpointKey { netns_cookie: self.netns_cookie, address };
        // SAFETY: between taking entries out and putting others in, the agent waits until no
        // program reads any more (`membarrier(2)`), so an entry never turns into another's.
        unsafe { ENDPOINTS.get(key) }.copied()
    }

    #[inline(always)]
    fn device(&self, place: u32) -> Option<u32> {
        match self.mode {
            mode::XDP => XDP_DEVICES.get_ifindex(place),
            _ => DEVICES.get_ifindex(place),
        }
    }

    #[inline(always)]
    fn takes(&self, place: u32) -> bool {
        config(place).mode == self.mode
    }
}

/// Where what is seen of packets that do not fit is counted, for an end.
pub struct MtuOf {
    /// Cookie of its namespace.
    pub netns_cookie: u64,
    /// Its slot.
    pub slot: u32,
}

impl Figures for MtuOf {
    #[inline(always)]
    fn owns(&self, address: Address) -> bool {
        let key = AddressKey { netns_cookie: self.netns_cookie, address };
        // SAFETY: nothing is read of the entry.
        unsafe { ADDRESSES.get(key) }.is_some()
    }

    #[inline(always)]
    fn count(&self, figure: Figure) {
        if let Some(counters) = MTU.get_ptr_mut(self.slot) {
            // SAFETY: as in `counters`.
            unsafe { (*counters).by_place[figure.place()] += 1 };
        }
    }
}

/// Lets the kernel send the frame that an XDP program sees into the peer of the device in `place`,
/// when the program ends with the action that this gives; `None` where that device is gone.
#[inline(always)]
pub fn redirect(place: u32) -> Option<u32> {
    XDP_DEVICES.redirect(place, 0).ok()
}

/// Counts a packet of an end of the fast path that went to the stack.
#[inline(always)]
pub fn count_fallback(slot: u32, reason: Fallback) {
    if let Some(fallbacks) = FALLBACKS.get_ptr_mut(slot) {
        // SAFETY: as in `counters`.
        unsafe { (*fallbacks).add(reason) };
    }
}

/// This CPU's counters of `slot`.
#[inline(always)]
pub fn counters(slot: u32) -> Option<&'static mut EndCounters> {
    // SAFETY: TC and XDP programs run with bottom halves off, so nothing else on this CPU touches
    // this CPU's copy while the reference lives, and no entry point takes a second one of a slot.
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
