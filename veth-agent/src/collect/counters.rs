//! Counters of ends, summed over all CPUs.

use aya::maps::MapError;
use veth_common::{counters::EndCounters, endpoint::EndKey};

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

/// Packets that passed a program of ours on an end without a slot.
///
/// # Errors
/// When the map cannot be read.
pub fn unknown(maps: &Maps) -> Result<u64, MapError> {
    Ok(maps.unknown.get(&0, 0)?.iter().sum())
}
