//! Replaces the programs that another build of the agent left, each in place: no packet passes an
//! empty hook, and the counters go on.

use std::collections::BTreeSet;

use aya::programs::{
    ProgramInfo, SchedClassifier, Xdp,
    links::{FdLink, PinnedLink},
    tc::SchedClassifierLink,
    xdp::XdpLink,
};
use veth_common::endpoint::EndKey;

use super::{
    AttachCause, AttachError, DatapathError, HookName, Lock, Maps, Method, Pins, attach,
    objects::{self, Programs},
    observe,
};
use crate::{
    inventory::{Namespace, Snapshot},
    netns,
    types::{EndId, NetnsCookie},
};

/// Brings the programs of all namespaces to what this build of the agent has; gives the number of
/// namespaces where there was something to replace, and what could not be.
///
/// # Errors
/// Only what stops everything.
pub fn upgrade(
    pins: &Pins,
    maps: &Maps,
    snapshot: &Snapshot,
) -> Result<(usize, Vec<AttachError>), DatapathError> {
    let _lock = Lock::acquire(pins)?;
    let served: BTreeSet<_> = pins.pinned_programs()?.into_iter().map(|(netns, _)| netns).collect();
    upgrade_xdp(pins, &served)?;
    let current = current_tags(pins, served.first().copied())?;
    let outdated: Vec<_> =
        served.into_iter().filter(|netns| pinned_tags(pins, *netns) != current).collect();
    let mut errors = Vec::new();
    objects::for_each_fresh(pins, &outdated, |netns, programs| {
        if let Some(netns) = snapshot.namespaces.get(&netns) {
            errors.extend(replace(pins, maps, netns, programs, snapshot.host));
        }
        programs.pin(pins, netns)
    })?;
    Ok((outdated.len(), errors))
}

/// The kernel's digests of both programs' instructions. A namespace's cookie is data to them.
type Tags = [Option<u64>; 2];

/// The digests of this build's programs, loaded for any namespace.
fn current_tags(pins: &Pins, any: Option<NetnsCookie>) -> Result<Tags, DatapathError> {
    let mut tags = [None; 2];
    objects::for_each_fresh(pins, any.as_slice(), |_, programs| {
        for (hook, tag) in HookName::BOTH.into_iter().zip(&mut tags) {
            *tag = programs.hook_mut(hook)?.info().ok().map(|info| info.tag());
        }
        Ok(())
    })?;
    Ok(tags)
}

fn pinned_tags(pins: &Pins, netns: NetnsCookie) -> Tags {
    HookName::BOTH
        .map(|hook| ProgramInfo::from_pin(pins.program(netns, hook)).ok().map(|info| info.tag()))
}

fn replace(
    pins: &Pins,
    maps: &Maps,
    netns: &Namespace,
    programs: &mut Programs,
    host: NetnsCookie,
) -> Vec<AttachError> {
    let hooks = observe::hooks_within(pins, netns).unwrap_or_default();
    let mut errors = Vec::new();
    for link in netns.links.values().filter(|link| link.kind.is_paired()) {
        let end = netns.end(link.index);
        if maps.ends.get(&EndKey::from(end), 0).is_err() {
            continue;
        }
        for hook in HookName::BOTH {
            let found = hooks.get(&end).and_then(|hooks| hooks.get(hook));
            let method = found.map(|hook| hook.method);
            let replaced = programs.hook_mut(hook).map_err(AttachCause::from).and_then(|program| {
                if let Some(Method::Clsact { priority, handle }) = method {
                    let filter = Filter { name: &link.name, hook, priority, handle };
                    filter.replace(netns, program)
                } else {
                    replace_link(pins, end, hook, program)
                }
            });
            if let Err(cause) = replaced {
                let (netns, interface) = (netns.label(host), link.name.clone());
                errors.push(AttachError { netns, interface, hook: hook.as_str(), cause });
            }
        }
    }
    errors
}

/// Lets a pinned TCX link run another program (`BPF_LINK_UPDATE`).
fn replace_link(
    pins: &Pins,
    end: EndId,
    hook: HookName,
    program: &mut SchedClassifier,
) -> Result<(), AttachCause> {
    let path = pins.link(end, hook);
    if !path.exists() {
        // Nothing hangs here: the next look attaches it.
        return Ok(());
    }
    let link = FdLink::from(PinnedLink::from_pin(&path)?);
    let attached = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
    // Still held by its pin.
    drop(program.take_link(attached)?);
    Ok(())
}

/// Lets the pinned XDP links of these namespaces run this build's program.
fn upgrade_xdp(pins: &Pins, served: &BTreeSet<NetnsCookie>) -> Result<(), DatapathError> {
    let links = pins.pinned_xdp()?;
    for netns in served {
        let pin = pins.xdp_program(*netns);
        let Ok(old) = ProgramInfo::from_pin(&pin) else { continue };
        let ends = links.iter().filter(|end| end.netns == *netns);
        objects::with_fresh_xdp(pins, *netns, |program| {
            if program.info().is_ok_and(|new| new.tag() == old.tag()) {
                return Ok(());
            }
            for end in ends {
                if let Err(cause) = replace_xdp_link(pins, *end, program) {
                    // Its place in the fast path it has only with the pinned program.
                    tracing::warn!(end = ?end, "the XDP program is not replaced: {cause}");
                }
            }
            objects::pin_xdp(program, &pin)
        })??;
    }
    Ok(())
}

fn replace_xdp_link(pins: &Pins, end: EndId, program: &mut Xdp) -> Result<(), AttachCause> {
    let link = FdLink::from(PinnedLink::from_pin(pins.xdp_link(end))?);
    let attached = program.attach_to_link(XdpLink::try_from(link)?)?;
    // Still held by its pin.
    drop(program.take_link(attached)?);
    Ok(())
}

struct Filter<'a> {
    name: &'a str,
    hook: HookName,
    priority: u16,
    handle: u32,
}

impl Filter<'_> {
    /// Lets a `clsact` filter run another program, inside its namespace.
    fn replace(&self, netns: &Namespace, program: &mut SchedClassifier) -> Result<(), AttachCause> {
        netns::within_known(&netns.path, netns.cookie, || {
            let link = attach::filter_link(self.name, self.hook, self.priority, self.handle)?;
            let attached = program.attach_to_link(link)?;
            // Dropped, it would delete the filter.
            std::mem::forget(program.take_link(attached)?);
            Ok(())
        })?
    }
}
