//! Tells the programs.

use std::collections::BTreeSet;

use aya::maps::MapError;
use veth_common::{mtu::AddressKey, names};

use super::{addresses, limits};
use crate::{
    datapath::{DatapathError, Lock, Maps, Pins, read_slots},
    inventory::Snapshot,
};

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Addresses that the programs know now.
    pub addresses: usize,
    /// Addresses that there was no room for.
    pub left_out: usize,
}

/// Brings what the programs compare packets with to what a snapshot says.
///
/// # Errors
/// When a map cannot be read or written.
pub fn sync(pins: &Pins, maps: &mut Maps, snapshot: &Snapshot) -> Result<Synced, DatapathError> {
    let _lock = Lock::acquire(pins)?;
    set_limits(maps, snapshot)?;
    set_addresses(maps, &addresses(snapshot)).map_err(|error| failed(names::MAP_ADDRESSES, error))
}

fn set_limits(maps: &mut Maps, snapshot: &Snapshot) -> Result<(), DatapathError> {
    let slots = read_slots(maps)?;
    for (end, limits) in limits(snapshot) {
        let Some(slot) = slots.get(end) else { continue };
        maps.set_limits(slot.slot, limits).map_err(|error| failed(names::MAP_CONFIGS, error))?;
    }
    Ok(())
}

/// What is not in use any more goes first, so that there is room.
fn set_addresses(maps: &mut Maps, wanted: &BTreeSet<AddressKey>) -> Result<Synced, MapError> {
    let there: BTreeSet<AddressKey> = maps.addresses.keys().collect::<Result<_, _>>()?;
    for stale in there.difference(wanted) {
        maps.addresses.remove(stale)?;
    }
    let kept = there.intersection(wanted).count();
    let room = (maps.address_capacity as usize).saturating_sub(kept);
    let new: Vec<_> = wanted.difference(&there).collect();
    for address in new.iter().take(room) {
        maps.addresses.insert(*address, 0, 0)?;
    }
    let left_out = new.len().saturating_sub(room);
    Ok(Synced { addresses: wanted.len() - left_out, left_out })
}

fn failed(name: &'static str, error: MapError) -> DatapathError {
    DatapathError::Map { name, source: Box::new(error) }
}
