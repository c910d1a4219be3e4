//! Counters of ends, summed over all CPUs.

use aya::maps::MapError;
use veth_common::{counters::EndCounters, endpoint::EndKey, fastpath::Fallbacks};

use crate::{datapath::Maps, types::EndId};

/// The counters of an end; `None` where it has no slot.
///
/// # Errors
/// When the maps cannot be read.
pub fn read(maps: &Maps, end: EndId) -> Result<Option<EndCounters>, MapError> {
    let slot = match maps.ends.get(&EndKey::from(end), 0) {
        Ok(slot) => slot,
        Err(MapError::KeyNotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let per_cpu = maps.counters.get(&slot.slot, 0)?;
    Ok(Some(per_cpu.iter().fold(EndCounters::default(), |sum, cpu| sum.plus(*cpu))))
}

/// What of an end's packets did not take the fast path, and why; `None` where it has no place there.
///
/// # Errors
/// When the maps cannot be read.
pub fn fallbacks(maps: &Maps, end: EndId) -> Result<Option<Fallbacks>, MapError> {
    let slot = match maps.ends.get(&EndKey::from(end), 0) {
        Ok(slot) => slot,
        Err(MapError::KeyNotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    match maps.fallbacks.get(&slot.slot, 0) {
        Ok(per_cpu) => {
            Ok(Some(per_cpu.iter().fold(Fallbacks::default(), |sum, cpu| sum.plus(*cpu))))
        }
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Packets that passed a program of ours on an end without a slot.
///
/// # Errors
/// When the map cannot be read.
pub fn unknown(maps: &Maps) -> Result<u64, MapError> {
    Ok(maps.unknown.get(&0, 0)?.iter().sum())
}
