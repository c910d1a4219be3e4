//! Counters of ends, summed over all CPUs.

use aya::maps::MapError;
use veth_common::{
    counters::EndCounters,
    endpoint::{EndKey, EndSlot},
    fastpath::Fallbacks,
    mtu::MtuCounters,
};

use crate::{datapath::Maps, types::EndId};

/// What the maps say of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndReading {
    /// What it has carried; `None` where it has no slot.
    pub counters: Option<EndCounters>,
    /// What did not take the fast path, and why; `None` where it has no place there.
    pub fallbacks: Option<Fallbacks>,
    /// What it has seen of packets that do not fit; `None` where it has no slot.
    pub mtu: Option<MtuCounters>,
}

/// Reads an end. What cannot be read is not there.
#[must_use]
pub fn read(maps: &Maps, end: EndId) -> EndReading {
    let Ok(EndSlot { slot, .. }) = maps.ends.get(&EndKey::from(end), 0) else {
        return EndReading::default();
    };
    let counters = maps.counters.get(&slot, 0).ok();
    let fallbacks = maps.fallbacks.get(&slot, 0).ok();
    let mtu = maps.mtu.get(&slot, 0).ok();
    EndReading {
        counters: counters
            .map(|per_cpu| per_cpu.iter().fold(EndCounters::default(), |sum, cpu| sum.plus(*cpu))),
        fallbacks: fallbacks
            .map(|per_cpu| per_cpu.iter().fold(Fallbacks::default(), |sum, cpu| sum.plus(*cpu))),
        mtu: mtu
            .map(|per_cpu| per_cpu.iter().fold(MtuCounters::default(), |sum, cpu| sum.plus(*cpu))),
    }
}

/// Packets that passed a program of ours on an end without a slot.
///
/// # Errors
/// When the map cannot be read.
pub fn unknown(maps: &Maps) -> Result<u64, MapError> {
    Ok(maps.unknown.get(&0, 0)?.iter().sum())
}
