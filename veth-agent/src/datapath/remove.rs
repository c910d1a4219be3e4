//! Takes programs, slots and pins away.

use std::collections::BTreeSet;

use veth_common::{
    endpoint::{EndKey, EndSlot},
    fastpath::{Endpoint, EndpointKey, mode},
    journal::QDISC_ADDED,
    names,
};

use super::{
    AttachCause, AttachError, DatapathError, EndHooks, HookName, Lock, Maps, Method, Pins, Traces,
    attach, drops::forget_drops, hurry, observe, pins, qdisc, reconcile::read_slots, xdp,
};
use crate::{
    inventory::{Namespace, Snapshot},
    netlink, netns,
    types::{EndId, IfIndex, NetnsCookie},
};

/// Takes our programs off these ends, undoes what the journal says, and frees their slots.
///
/// # Errors
/// Only what stops everything; what could not be taken off one end is in the list.
pub fn detach_ends(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    ends: &BTreeSet<EndId>,
) -> Result<Vec<AttachError>, DatapathError> {
    let _lock = Lock::acquire(pins)?;
    hurry::end(maps);
    let mut errors = leave_fast_path(pins, maps, snapshot, ends)?;
    let cookies: BTreeSet<_> = ends.iter().map(|end| end.netns).collect();
    for netns in cookies.iter().filter_map(|cookie| snapshot.namespaces.get(cookie)) {
        let here: Vec<_> = ends.iter().filter(|end| end.netns == netns.cookie).copied().collect();
        errors.extend(remove_filters(pins, maps, netns, &here, snapshot.host));
    }
    forget(pins, maps, ends)?;
    remove_unused_programs(pins)?;
    Ok(errors)
}

/// Removes what belongs to ends that were `known` and are not in `later`, a picture taken since. One
/// taken before would lack the ends that another agent has attached meanwhile.
///
/// # Errors
/// When pins or maps cannot be changed.
pub fn collect_garbage(
    pins: &Pins,
    maps: &mut Maps,
    known: &BTreeSet<EndId>,
    later: &Snapshot,
) -> Result<BTreeSet<EndId>, DatapathError> {
    let _lock = Lock::acquire(pins)?;
    let living: BTreeSet<_> = later.ends().collect();
    let dead: BTreeSet<_> = known.difference(&living).copied().collect();
    if !dead.is_empty() {
        forget(pins, maps, &dead)?;
        remove_unused_programs(pins)?;
    }
    Ok(dead)
}

/// Takes everything off: all ends that ever were attached, all pins, all maps, those of another
/// layout too, and what traces that were killed have left below `clsact`.
///
/// # Errors
/// Only what stops everything; what could not be taken off one end is in the list.
pub fn remove_everything(
    pins: &Pins,
    snapshot: &Snapshot,
) -> Result<Vec<AttachError>, DatapathError> {
    let mut maps = Maps::open_mended(pins)?;
    let mut known = known_ends(pins, &maps)?;
    // What a map of another layout knew of can still be seen on the hooks.
    let seen = observe::hooks(pins, snapshot)?;
    known.extend(seen.iter().filter(|(_, hooks)| !hooks.empty()).map(|(end, _)| *end));
    let mut errors = detach_ends(pins, &mut maps, snapshot, &known)?;
    errors.extend(remove_traces(pins, snapshot)?);
    if errors.is_empty() {
        pins.remove_all()?;
    }
    Ok(errors)
}

/// Every end that has a slot, a pinned link or an entry in the journal.
///
/// # Errors
/// When pins or maps cannot be read.
pub fn known_ends(pins: &Pins, maps: &Maps) -> Result<BTreeSet<EndId>, DatapathError> {
    let mut known: BTreeSet<EndId> = read_slots(maps)?.ends().collect();
    known.extend(pins.pinned_links()?.into_iter().map(|(end, _)| end));
    known.extend(pins.pinned_xdp()?);
    let journaled = maps.journal.keys().filter_map(Result::ok).filter(|key| *key != hurry::NODE);
    known.extend(journaled.map(EndId::from));
    Ok(known)
}

/// Frees the slots, pins and journal entries of ends. Removing the last pin of a TCX link detaches
/// it, wherever its interface has gone.
fn forget(pins: &Pins, maps: &mut Maps, ends: &BTreeSet<EndId>) -> Result<(), DatapathError> {
    forget_endpoints(maps, ends)?;
    let mut slots = read_slots(maps)?;
    for end in ends {
        for hook in HookName::BOTH {
            pins::remove_file(&pins.link(*end, hook))?;
        }
        pins::remove_file(&pins.xdp_link(*end))?;
        slots.release(maps, *end).map_err(|error| DatapathError::Map {
            name: names::MAP_ENDS,
            source: Box::new(error),
        })?;
        // Most ends have no entry.
        let _ = maps.journal.remove(&EndKey::from(*end));
    }
    forget_drops(maps, ends)
}

/// Takes the pairs that these ends belong to back to the stack, and undoes what XDP needed. A far end
/// without its near end's cooperation would lose frames, so both of a pair go.
fn leave_fast_path(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    ends: &BTreeSet<EndId>,
) -> Result<Vec<AttachError>, DatapathError> {
    let both = ends.iter().flat_map(|end| [Some(*end), snapshot.peer_of(*end)]);
    let both: BTreeSet<_> = both.flatten().collect();
    forget_endpoints(maps, &both)?;
    let slots = read_slots(maps)?;
    for EndSlot { slot, .. } in both.iter().filter_map(|end| slots.get(*end)) {
        maps.set_mode(slot, mode::OBSERVE).map_err(|error| DatapathError::Map {
            name: names::MAP_CONFIGS,
            source: Box::new(error),
        })?;
    }
    let mut errors = Vec::new();
    for end in both {
        if let Err(cause) = xdp::withdraw(pins, maps, snapshot, end) {
            let netns = snapshot.namespaces.get(&end.netns);
            let netns = netns.map(|netns| netns.label(snapshot.host)).unwrap_or_default();
            let interface = snapshot.link(end).map(|link| link.name.clone()).unwrap_or_default();
            errors.push(AttachError { netns, interface, hook: "xdp", cause });
        }
    }
    Ok(errors)
}

/// Nobody redirects any more to these ends.
fn forget_endpoints(maps: &mut Maps, ends: &BTreeSet<EndId>) -> Result<(), DatapathError> {
    let is_theirs = |key: &EndpointKey, endpoint: &Endpoint| {
        let (netns, ifindex) = (NetnsCookie(key.netns_cookie), IfIndex(endpoint.ifindex));
        ends.contains(&EndId { netns, ifindex })
    };
    let known: Vec<_> = maps.endpoints.iter().filter_map(Result::ok).collect();
    for (key, _) in known.iter().filter(|(key, endpoint)| is_theirs(key, endpoint)) {
        maps.endpoints.remove(key).map_err(|error| DatapathError::Map {
            name: names::MAP_ENDPOINTS,
            source: Box::new(error),
        })?;
    }
    Ok(())
}

/// A namespace's programs stay pinned while one of its ends has a slot.
fn remove_unused_programs(pins: &Pins) -> Result<(), DatapathError> {
    let maps = Maps::open(pins, 1)?;
    let used: BTreeSet<NetnsCookie> = read_slots(&maps)?.ends().map(|end| end.netns).collect();
    for (netns, pin) in pins.pinned_programs()? {
        if !used.contains(&netns) {
            pins::remove_file(&pin)?;
        }
    }
    Ok(())
}

/// Deletes our `clsact` filters, and the qdiscs that we had to add where nobody else uses them.
fn remove_filters(
    pins: &Pins,
    maps: &mut Maps,
    netns: &Namespace,
    ends: &[EndId],
    host: NetnsCookie,
) -> Vec<AttachError> {
    let hooks = observe::hooks_within(pins, netns).unwrap_or_default();
    let mut errors = Vec::new();
    for end in ends {
        let Some(link) = netns.links.get(&end.ifindex) else { continue };
        let hooks = hooks.get(end).copied().unwrap_or_default();
        let journal = maps.journal.get(&EndKey::from(*end), 0).unwrap_or_default();
        let added_qdisc = journal.flags & QDISC_ADDED != 0;
        let removed = netns::within_known(&netns.path, netns.cookie, || {
            remove_hooks(end.ifindex, hooks)?;
            if added_qdisc {
                qdisc::remove(end.ifindex).map_err(|cause| (HookName::Ingress, cause))
            } else {
                Ok(())
            }
        });
        if let Err((hook, cause)) =
            removed.unwrap_or_else(|error| Err((HookName::Ingress, AttachCause::from(error))))
        {
            let (netns, interface) = (netns.label(host), link.name.clone());
            errors.push(AttachError { netns, interface, hook: hook.as_str(), cause });
        }
    }
    errors
}

fn remove_hooks(ifindex: IfIndex, hooks: EndHooks) -> Result<(), (HookName, AttachCause)> {
    for hook in HookName::BOTH {
        if let Some(Method::Clsact { priority, handle }) = hooks.get(hook).map(|hook| hook.method) {
            attach::delete_filter(ifindex, hook, priority, handle)
                .map_err(|cause| (hook, cause))?;
        }
    }
    Ok(())
}

/// Deletes the filters of traces that have been killed. Links go with their trace.
fn remove_traces(pins: &Pins, snapshot: &Snapshot) -> Result<Vec<AttachError>, DatapathError> {
    let _lock = Lock::acquire(pins)?;
    let Some(_alone) = Traces::keep_out(pins)? else {
        tracing::warn!("a trace is running: what dead ones may have left behind stays");
        return Ok(Vec::new());
    };
    let mut errors = Vec::new();
    for netns in snapshot.namespaces.values() {
        let removed = netns::within_known(&netns.path, netns.cookie, || {
            let each = netns.links.iter().map(|(ifindex, link)| {
                remove_traces_of(*ifindex).map_err(|cause| (link.name.clone(), cause))
            });
            each.filter_map(Result::err).collect::<Vec<_>>()
        });
        // What has gone meanwhile has taken its filters along.
        for (interface, (hook, cause)) in removed.into_iter().flatten() {
            let (netns, hook) = (netns.label(snapshot.host), hook.as_str());
            errors.push(AttachError { netns, interface, hook, cause });
        }
    }
    Ok(errors)
}

fn remove_traces_of(ifindex: IfIndex) -> Result<(), (HookName, AttachCause)> {
    let mut owns_qdisc = false;
    for hook in HookName::BOTH {
        let failed = |cause| (hook, cause);
        let filters = netlink::block_on(async |connection| {
            observe::all_filters(&connection, ifindex, hook).await
        });
        let filters = filters.map_err(|error| failed(AttachCause::from(error)))?;
        for filter in filters.iter().filter(|filter| filter.is_of_trace) {
            owns_qdisc |= filter.handle & qdisc::OURS != 0;
            attach::delete_filter(ifindex, hook, filter.priority, filter.handle).map_err(failed)?;
        }
    }
    if owns_qdisc {
        qdisc::remove(ifindex).map_err(|cause| (HookName::Ingress, cause))?;
    }
    Ok(())
}
