//! Which slot of the counters belongs to which end.

use std::collections::{BTreeMap, BTreeSet};

use aya::{
    maps::{MapError, PerCpuValues},
    util::nr_cpus,
};
use veth_common::{
    config::EndConfig,
    counters::EndCounters,
    endpoint::{EndKey, EndSlot},
    mtu::MtuCounters,
};

use super::{AttachCause, Maps};
use crate::types::EndId;

/// The slots as they stand in the map, and the free ones.
#[derive(Debug)]
pub struct Slots {
    taken: BTreeMap<EndId, EndSlot>,
    free_from: u32,
    capacity: u32,
}

/// Counters that begin anew have a ledger that does.
fn close_ledger(maps: &mut Maps, end: EndId) -> Result<(), MapError> {
    let key = EndKey::from(end);
    if maps.ledger.get(&key, 0).is_ok() {
        maps.ledger.remove(&key)?;
    }
    Ok(())
}

impl Slots {
    /// Reads the map.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn read(maps: &Maps) -> Result<Self, MapError> {
        let taken = maps
            .ends
            .iter()
            .map(|entry| entry.map(|(key, slot)| (key.into(), slot)))
            .collect::<Result<_, _>>()?;
        Ok(Self { taken, free_from: 0, capacity: maps.capacity })
    }

    /// The ends that have a slot.
    pub fn ends(&self) -> impl Iterator<Item = EndId> {
        self.taken.keys().copied()
    }

    /// The slot of an end.
    #[must_use]
    pub fn get(&self, end: EndId) -> Option<EndSlot> {
        self.taken.get(&end).copied()
    }

    /// Gives `end` a slot whose counters are zero. One that it has already is emptied: it belonged
    /// to an earlier interface of the same index.
    pub fn assign(&mut self, maps: &mut Maps, end: EndId) -> Result<(), AttachCause> {
        let given = match self.get(end) {
            Some(EndSlot { slot, generation }) => {
                EndSlot { slot, generation: generation.wrapping_add(1) }
            }
            None => EndSlot { slot: self.next_free()?, generation: 0 },
        };
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let zeros = PerCpuValues::try_from(vec![EndCounters::default(); cpus])?;
        maps.counters.set(given.slot, zeros, 0)?;
        let zeros = PerCpuValues::try_from(vec![MtuCounters::default(); cpus])?;
        maps.mtu.insert(given.slot, zeros, 0)?;
        // An earlier owner's wishes end with it.
        maps.configs.set(given.slot, EndConfig::default(), 0)?;
        if maps.fallbacks.get(&given.slot, 0).is_ok() {
            maps.fallbacks.remove(&given.slot)?;
        }
        close_ledger(maps, end)?;
        maps.ends.insert(EndKey::from(end), given, 0)?;
        self.taken.insert(end, given);
        Ok(())
    }

    /// Takes the slot of `end` back.
    pub fn release(&mut self, maps: &mut Maps, end: EndId) -> Result<(), MapError> {
        if let Some(EndSlot { slot, .. }) = self.taken.remove(&end) {
            maps.ends.remove(&EndKey::from(end))?;
            close_ledger(maps, end)?;
            if maps.mtu.get(&slot, 0).is_ok() {
                maps.mtu.remove(&slot)?;
            }
            self.free_from = self.free_from.min(slot);
        }
        Ok(())
    }

    fn next_free(&mut self) -> Result<u32, AttachCause> {
        let taken: BTreeSet<u32> = self.taken.values().map(|end| end.slot).collect();
        let free = (self.free_from..self.capacity)
            .find(|slot| !taken.contains(slot))
            .ok_or(AttachCause::Full(self.capacity))?;
        self.free_from = free;
        Ok(free)
    }
}
