//! Brings the tables to what a plan says.
//!
//! What is wrong goes first, what is right comes last, and in between no program reads any more: an
//! entry of a hash map that is taken out may be given to another key at once, under the eyes of a
//! program that has just found it (`kernel/bpf/hashtab.c`).

use std::collections::BTreeMap;

use aya::{
    maps::{MapError, PerCpuValues, xdp::XdpMapError},
    util::nr_cpus,
};
use rustix::thread::{MembarrierCommand, membarrier};
use veth_common::fastpath::{Endpoint, EndpointKey, Fallbacks, mode};

use super::{Near, Plan};
use crate::{
    datapath::{AttachCause, Maps},
    inventory::Snapshot,
    netns,
    types::{Datapath, EndId, NetnsCookie},
};

/// Writes the tables.
///
/// # Errors
/// What the kernel refused; entries are then missing, and none is wrong.
pub fn sync(maps: &mut Maps, snapshot: &Snapshot, plan: &Plan) -> Result<(), AttachCause> {
    let there: BTreeMap<_, _> = maps.endpoints.iter().collect::<Result<_, _>>()?;
    let stale: Vec<_> =
        there.iter().filter(|(key, old)| plan.endpoints.get(key) != Some(old)).collect();
    for (key, _) in &stale {
        maps.endpoints.remove(key)?;
    }
    // A slot was given its place there before it was opened.
    for slot in maps.fallbacks.keys().collect::<Result<Vec<_>, _>>()? {
        if plan.near.values().all(|near| near.slot != slot) {
            maps.set_mode(slot, mode::OBSERVE)?;
        }
    }
    if !stale.is_empty() {
        membarrier(MembarrierCommand::Global).map_err(std::io::Error::from)?;
    }
    let new: Vec<_> =
        plan.endpoints.iter().filter(|(key, endpoint)| there.get(key) != Some(endpoint)).collect();
    let devices = devices(maps, &new, plan)?;
    for (netns, ends) in devices {
        set_devices(maps, snapshot, netns, &ends)?;
    }
    for near in plan.near.values() {
        make_ready(maps, near)?;
    }
    for (key, endpoint) in &new {
        maps.endpoints.insert(*key, **endpoint, 0)?;
    }
    Ok(())
}

/// A near end's device: its slot and index, and by which programs it is redirected to.
type Device = (u32, u32, Datapath);

/// Devices of near ends that are new to the fast path by these programs, by namespace.
fn devices(
    maps: &Maps,
    new: &[(&EndpointKey, &Endpoint)],
    plan: &Plan,
) -> Result<BTreeMap<NetnsCookie, Vec<Device>>, MapError> {
    let mut devices = BTreeMap::<_, Vec<_>>::new();
    for (EndId { netns, ifindex }, Near { slot, datapath, .. }) in &plan.near {
        // Each kind of program has a map of its own.
        let other_kind = maps.configs.get(slot, 0)?.mode != mode_of(*datapath);
        if other_kind || new.iter().any(|(_, endpoint)| endpoint.device == *slot) {
            devices.entry(*netns).or_default().push((*slot, ifindex.0, *datapath));
        }
    }
    Ok(devices)
}

/// The kernel looks for a device in the namespace of whoever names it, and clears its place when it
/// goes (`kernel/bpf/devmap.c`).
fn set_devices(
    maps: &mut Maps,
    snapshot: &Snapshot,
    netns: NetnsCookie,
    devices: &[Device],
) -> Result<(), AttachCause> {
    let Some(found) = snapshot.namespaces.get(&netns) else { return Ok(()) };
    let (by_tc, by_xdp) = (&mut maps.devices, &mut maps.xdp_devices);
    netns::within_known(&found.path, netns, || {
        devices.iter().try_for_each(|(slot, ifindex, datapath)| {
            let map = if *datapath == Datapath::Xdp { &mut *by_xdp } else { &mut *by_tc };
            map.set(*slot, *ifindex, None, 0)
        })
    })?
    .map_err(|error| match error {
        XdpMapError::MapError(error) => error.into(),
        other => AttachCause::Kernel(other.to_string()),
    })
}

/// Gives a slot counters of its own for what does not take the fast path, and opens it.
fn make_ready(maps: &mut Maps, near: &Near) -> Result<(), AttachCause> {
    let slot = near.slot;
    let wanted = mode_of(near.datapath);
    if maps.configs.get(&slot, 0)?.mode == wanted {
        return Ok(());
    }
    if matches!(maps.fallbacks.get(&slot, 0), Err(MapError::KeyNotFound)) {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let zeros = PerCpuValues::try_from(vec![Fallbacks::default(); cpus])?;
        maps.fallbacks.insert(slot, zeros, 0)?;
    }
    maps.set_mode(slot, wanted)?;
    Ok(())
}

const fn mode_of(datapath: Datapath) -> u32 {
    match datapath {
        Datapath::Observe => mode::OBSERVE,
        Datapath::Tc => mode::TC,
        Datapath::Xdp => mode::XDP,
    }
}
