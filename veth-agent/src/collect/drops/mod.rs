//! Packets that the kernel has freed, as far as they were lost: by end and by reason.

mod classify;
mod names;
mod reasons;
mod symbols;

use std::collections::BTreeMap;

use aya::maps::MapError;
use nix::errno::Errno;
use veth_common::drops::{DropCount, DropKey, TO_GROUP, place};

pub use self::{
    classify::{Class, Ended, Stage, classify},
    names::{DropName, DropNames},
};
use self::{reasons::Reasons, symbols::Symbols};
use crate::{
    datapath::{self, Maps, Pins},
    types::{EndId, IfIndex, NetnsCookie},
};

/// Packets lost in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// What it is called.
    pub reason: String,
    /// The kernel's function, where that is known.
    pub symbol: Option<String>,
    /// Socket buffers, or frames of XDP.
    pub packets: u64,
    /// Frames that a wire would have carried.
    pub segments: u64,
    /// Where, seen from the pair.
    pub stage: Stage,
}

/// All that was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllDrops {
    /// Entries of the map, those of normal ends of life among them.
    pub entries: usize,
    /// By end; an end that has lost nothing is not in it.
    pub of_ends: BTreeMap<EndId, Vec<Drops>>,
    /// What no end could be found for: on other devices, on none.
    pub of_nobody: Vec<Drops>,
}

/// Packets by the kernel's reason, or ours: what was lost in several places in one way is one.
pub type DropsByReason = BTreeMap<String, u64>;

/// Sums up what is called alike.
#[must_use]
pub fn by_reason(drops: &[Drops]) -> DropsByReason {
    let mut sums = DropsByReason::new();
    for Drops { reason, packets, .. } in drops {
        *sums.entry(reason.clone()).or_default() += packets;
    }
    sums
}

/// Reads what was lost, and knows what the kernel calls its reasons and functions.
#[derive(Debug)]
pub struct DropReader {
    pins: Pins,
    reasons: Reasons,
    symbols: Symbols,
}

impl DropReader {
    /// For what is pinned there. A kernel that does not describe its types has numbers for reasons.
    #[must_use]
    pub fn new(pins: &Pins) -> Self {
        let reasons = Reasons::of_kernel().unwrap_or_default();
        Self { pins: pins.clone(), reasons, symbols: Symbols::default() }
    }

    /// Reads all that was lost, whatever runs or does not.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn read(&mut self, maps: &Maps) -> Result<AllDrops, MapError> {
        let counts = counts(maps)?;
        let of_packets = counts.keys().filter(|key| !is_of_xdp(key));
        self.reasons.look_for(of_packets.clone().map(|key| key.reason & !TO_GROUP));
        self.symbols.look_for(of_packets.map(|key| key.location));
        let mut all = AllDrops { entries: counts.len(), ..AllDrops::default() };
        for (key, count) in &counts {
            let Some(drops) = self.drops(key, *count) else { continue };
            if key.netns_cookie == 0 {
                add(&mut all.of_nobody, drops);
            } else {
                let (netns, ifindex) = (NetnsCookie(key.netns_cookie), IfIndex(key.ifindex));
                add(all.of_ends.entry(EndId { netns, ifindex }).or_default(), drops);
            }
        }
        Ok(all)
    }

    /// Packets that were freed and are counted nowhere: there was no room, or the CPU was counting
    /// another just then.
    #[must_use]
    pub fn lost(&self, maps: &Maps) -> u64 {
        let no_room: u64 = maps.drops_lost.get(&0, 0).map_or(0, |cpus| cpus.iter().sum());
        no_room + datapath::missed_drops(&self.pins).unwrap_or_default()
    }

    /// What a count means; `None` where nothing was lost.
    fn drops(&self, key: &DropKey, DropCount { packets, segments }: DropCount) -> Option<Drops> {
        let symbol = if is_of_xdp(key) { None } else { self.symbols.get(key.location) };
        let class = match key.location {
            place::XDP_REDIRECT => of_xdp("xdp_redirect", key.reason, Stage::Elsewhere),
            place::XDP_XMIT => of_xdp("xdp_xmit", key.reason, Stage::Leaving),
            _ => classify(Ended {
                reason: &self.reasons.name(key.reason & !TO_GROUP),
                symbol,
                is_to_group: key.reason & TO_GROUP != 0,
            }),
        };
        let Class::Drop { name: reason, stage } = class else { return None };
        Some(Drops { reason, symbol: symbol.map(str::to_owned), packets, segments, stage })
    }
}

/// Adds a count to those that are called alike: a function may free packets at several places, and multicast
/// frames are counted apart.
fn add(all: &mut Vec<Drops>, drops: Drops) {
    let same = |it: &&mut Drops| {
        (&it.reason, &it.symbol, it.stage) == (&drops.reason, &drops.symbol, drops.stage)
    };
    match all.iter_mut().find(same) {
        Some(sum) => {
            sum.packets = sum.packets.wrapping_add(drops.packets);
            sum.segments = sum.segments.wrapping_add(drops.segments);
        }
        None => all.push(drops),
    }
}

const fn is_of_xdp(key: &DropKey) -> bool {
    matches!(key.location, place::XDP_REDIRECT | place::XDP_XMIT)
}

/// A loss of XDP: where, and the name of its errno in lower case. A device whose ring is full names none.
fn of_xdp(place: &str, errno: u32, stage: Stage) -> Class {
    let errno = match i32::try_from(errno).map(Errno::from_raw) {
        _ if errno == 0 => "full".to_owned(),
        Ok(Errno::UnknownErrno) | Err(_) => errno.to_string(),
        Ok(known) => format!("{known:?}").to_ascii_lowercase(),
    };
    Class::Drop { name: format!("{place}_{errno}"), stage }
}

/// The map, summed over all CPUs.
fn counts(maps: &Maps) -> Result<BTreeMap<DropKey, DropCount>, MapError> {
    let mut counts = BTreeMap::new();
    for key in maps.drop_counts.keys() {
        let key = key?;
        match maps.drop_counts.get(&key, 0) {
            Ok(cpus) => {
                let sum = cpus.iter().fold(DropCount::default(), |sum, cpu| sum.plus(*cpu));
                counts.insert(key, sum);
            }
            // Its end has gone meanwhile.
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_alike_is_one_count() {
        let drops = |reason: &str, symbol: &str, packets| Drops {
            reason: reason.to_owned(),
            symbol: Some(symbol.to_owned()),
            packets,
            segments: 2 * packets,
            stage: Stage::Elsewhere,
        };
        let mut all = Vec::new();
        for it in [drops("a", "f", 1), drops("a", "g", 3), drops("a", "f", 4), drops("b", "f", 5)] {
            add(&mut all, it);
        }
        assert_eq!(all, [drops("a", "f", 5), drops("a", "g", 3), drops("b", "f", 5)]);
    }

    #[test]
    fn losses_of_xdp_are_called_by_their_errno() {
        let name = |errno| match of_xdp("xdp_redirect", errno, Stage::Elsewhere) {
            Class::Drop { name, .. } => name,
            Class::Normal => String::new(),
        };
        assert_eq!(name(95), "xdp_redirect_eopnotsupp");
        assert_eq!(name(6), "xdp_redirect_enxio");
        assert_eq!(name(0), "xdp_redirect_full");
        assert_eq!(name(4000), "xdp_redirect_4000");
    }
}
