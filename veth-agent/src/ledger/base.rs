//! Where ledgers begin. Programs come to the two ends of a pair one after the other, and what counts
//! drops may come later still; what had passed by then is nobody's loss. So each direction has a base,
//! taken when it was at rest, and kept in the kernel: an agent that is started again goes on with it.

use std::collections::BTreeMap;

use aya::maps::MapError;
use veth_common::{endpoint::EndKey, ledger::Base};

use super::{Flow, Side, flow};
use crate::{
    collect::{self, AllDrops},
    datapath::Maps,
    types::EndId,
};

/// One direction of a pair: from which end to which.
pub type Way = (EndId, EndId);

/// Directions that have no base yet, as they were last seen.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    waiting: BTreeMap<Way, Flow>,
}

/// What the ledger says of a direction: segments that are unaccounted for since its base was taken.
#[must_use]
pub fn unaccounted(maps: &Maps, from: &Side<'_>, to: &Side<'_>) -> Option<i64> {
    let base = base(maps, (from.end, to.end))?;
    Some(flow(from, to)?.unaccounted().wrapping_sub(base))
}

/// The base of a direction, if it has one; one that was another receiver's is none.
fn base(maps: &Maps, (from, to): Way) -> Option<i64> {
    let base = maps.ledger.get(&EndKey::from(from), 0).ok()?;
    (base.to == EndKey::from(to)).then_some(base.segments)
}

/// The directions that have no base.
#[must_use]
pub fn unsettled(maps: &Maps, ways: impl Iterator<Item = Way>) -> Vec<Way> {
    ways.filter(|way| base(maps, *way).is_none()).collect()
}

/// Gives a base to each of these directions that was at rest since the last look.
///
/// # Errors
/// When the map cannot be written.
pub fn settle(
    bases: &mut Bases,
    maps: &mut Maps,
    drops: &AllDrops,
    ways: &[Way],
) -> Result<(), MapError> {
    let mut waiting = BTreeMap::new();
    for &(from, to) in ways {
        let [sender, receiver] = [from, to].map(|end| Side::read(maps, drops, end));
        let Some(flow) = flow(&sender, &receiver) else { continue };
        // What has not carried anything is at rest.
        if flow == Flow::default() || bases.waiting.get(&(from, to)) == Some(&flow) {
            let base = Base { to: to.into(), segments: flow.unaccounted() };
            maps.ledger.insert(EndKey::from(from), base, 0)?;
        } else {
            waiting.insert((from, to), flow);
        }
    }
    bases.waiting = waiting;
    Ok(())
}

impl<'a> Side<'a> {
    /// Reads what is to be known of an end.
    #[must_use]
    pub fn read(maps: &Maps, drops: &'a AllDrops, end: EndId) -> Self {
        let lost = drops.of_ends.get(&end).map_or(&[][..], Vec::as_slice);
        Self { end, reading: collect::read(maps, end), drops: lost }
    }
}
