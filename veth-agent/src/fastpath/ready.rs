//! Makes near ends ready for XDP, and takes back what no pair asks for any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Plan;
use crate::{
    datapath::{self, AttachCause, DatapathError, Maps, Pins},
    inventory::Snapshot,
    types::{Datapath, EndId},
};

/// How long it is before what could not be made ready is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// What could not be made ready, when, and why.
#[derive(Clone, Debug, Default)]
pub struct Failures(BTreeMap<EndId, (Instant, String)>);

/// Makes those near ends ready that are not; gives up those that cannot be.
pub fn prepare(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    plan: &mut Plan,
    failures: &mut Failures,
    now: Instant,
) {
    let unready = plan.unready();
    failures.0.retain(|end, (then, _)| unready.contains(end) && now - *then < AGAIN);
    for end in unready {
        if !failures.0.contains_key(&end)
            && let Err(cause) = datapath::prepare_xdp(pins, maps, snapshot, end)
        {
            failures.0.insert(end, (now, cause.to_string()));
        }
        if let Some((_, why)) = failures.0.get(&end) {
            plan.give_up(end, format!("XDP cannot be had: {why}"));
        }
    }
}

/// Takes the XDP program off near ends that are neither in the plan nor waiting, and restores the
/// offloads of their peers.
///
/// # Errors
/// Only where pins or maps cannot be read; what could not be undone is in the list.
pub fn withdraw(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    plan: &Plan,
) -> Result<Vec<AttachCause>, DatapathError> {
    let by_xdp = plan.near.iter().filter(|(_, near)| near.datapath == Datapath::Xdp);
    let mut stays: BTreeSet<_> = by_xdp.map(|(end, _)| *end).collect();
    stays.extend(&plan.waiting);
    let mut failed = Vec::new();
    for end in datapath::prepared_for_xdp(pins, maps)? {
        // What belongs to an end that is gone goes with its slot.
        if !stays.contains(&end)
            && snapshot.link(end).is_some()
            && let Err(cause) = datapath::withdraw_xdp(pins, maps, snapshot, end)
        {
            failed.push(cause);
        }
    }
    Ok(failed)
}
