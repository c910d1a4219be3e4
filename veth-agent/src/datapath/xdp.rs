//! Brings a pair to where its frames can be redirected by XDP, and back.
//!
//! What is switched at the far end is written into the journal of the near end first, so that it is
//! found after a crash, and after the far end has moved to another namespace.

use std::collections::BTreeSet;

use aya::programs::{
    ProgramError, XdpMode,
    links::{FdLink, PinnedLink},
};
use nix::libc::{EBUSY, EEXIST, ENOSPC, ERANGE};
use veth_common::{endpoint::EndKey, journal::Journal};

use super::{AttachCause, DatapathError, Maps, Pins, objects, offloads::Unfit, pins};
use crate::{
    cause::errno,
    inventory::{Link, Namespace, Snapshot},
    netns,
    preflight::Feature,
    types::EndId,
};

/// An end, and where it lies.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    netns: &'a Namespace,
    link: &'a Link,
}

impl<'a> Place<'a> {
    fn of(snapshot: &'a Snapshot, end: EndId) -> Result<Self, AttachCause> {
        let netns = snapshot.namespaces.get(&end.netns).ok_or(AttachCause::Gone)?;
        let link = netns.links.get(&end.ifindex).ok_or(AttachCause::Gone)?;
        Ok(Self { netns, link })
    }

    fn within<T: Send>(
        self,
        work: impl FnOnce(&Link) -> Result<T, AttachCause> + Send,
    ) -> Result<T, AttachCause> {
        netns::within_known(&self.netns.path, self.netns.cookie, || work(self.link))?
    }
}

/// Switches the offloads of `near`'s peer and attaches the XDP program to `near`. What cannot be done
/// is undone.
///
/// # Errors
/// Why it cannot be done.
pub fn prepare(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    near: EndId,
) -> Result<(), AttachCause> {
    Feature::XdpFrags.require().map_err(|missing| AttachCause::Kernel(missing.to_string()))?;
    let far = Place::of(snapshot, snapshot.peer_of(near).ok_or(AttachCause::Gone)?)?;
    let prepared = make_fit(maps, near, far)
        .and_then(|()| Place::of(snapshot, near)?.within(|link| attach(pins, near, link)));
    if let Err(cause) = prepared {
        if let Err(error) = withdraw(pins, maps, snapshot, near) {
            tracing::warn!(interface = far.link.name, "offloads are not restored: {error}");
        }
        return Err(cause);
    }
    Ok(())
}

fn make_fit(maps: &mut Maps, near: EndId, far: Place<'_>) -> Result<(), AttachCause> {
    let unfit = far.within(|link| Ok(Unfit::look(link.index)?))?;
    let key = EndKey::from(near);
    let mut journal = maps.journal.get(&key, 0).unwrap_or_default();
    journal.flags |= unfit.0;
    maps.journal.insert(key, journal, 0)?;
    let left = far.within(|link| {
        unfit.switch(link.index, true)?;
        Ok(Unfit::look(link.index)?)
    })?;
    if left == Unfit::default() {
        return Ok(());
    }
    Err(AttachCause::Kernel(format!("{} keeps {}", far.link.name, left.describe())))
}

fn attach(pins: &Pins, near: EndId, link: &Link) -> Result<(), AttachCause> {
    let mut program = objects::xdp(pins, near.netns)?;
    // In the driver, or not at all: generic XDP comes behind the stack's own work.
    let attached = program
        .attach_to_if_index(link.index.0, XdpMode::Driver)
        .map_err(|error| explain(&link.name, error))?;
    let attached: FdLink = program.take_link(attached)?.try_into()?;
    let path = pins.xdp_link(near);
    // A pin that is there belongs to an interface that is gone.
    pins::remove_file(&path)?;
    attached.pin(&path)?;
    Ok(())
}

/// What `veth_xdp_set` (`drivers/net/veth.c`) means by its refusals.
fn explain(near: &str, error: ProgramError) -> AttachCause {
    AttachCause::Kernel(match errno(&error) {
        Some(ENOSPC) => format!(
            "the peer of {near} sends by more queues than {near} receives by; make them one with \
             `ethtool -L`"
        ),
        Some(ERANGE) => format!("the MTU of the peer of {near} is too large for XDP; lower it"),
        Some(EBUSY | EEXIST) => format!("another XDP program holds {near}; take it off"),
        _ => return error.into(),
    })
}

/// The ends that have the XDP program, or whose peer's offloads are switched.
///
/// # Errors
/// When it cannot be seen what is pinned.
pub fn prepared(pins: &Pins, maps: &Maps) -> Result<BTreeSet<EndId>, DatapathError> {
    let mut prepared: BTreeSet<_> = pins.pinned_xdp()?.into_iter().collect();
    let journaled = maps.journal.iter().filter_map(Result::ok);
    let switched = journaled.filter(|(_, journal)| journal.flags & Unfit::ALL.0 != 0);
    prepared.extend(switched.map(|(key, _)| EndId::from(key)));
    Ok(prepared)
}

/// Takes the XDP program off `near` and restores the offloads of its peer. One that has neither is
/// fine.
///
/// # Errors
/// What the kernel refused; the journal then still knows of it.
pub fn withdraw(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    near: EndId,
) -> Result<(), AttachCause> {
    let path = pins.xdp_link(near);
    if path.exists() {
        // Closed last, it is detached at once; a file that is removed would leave it to a worker.
        drop(PinnedLink::from_pin(&path)?.unpin()?);
    }
    let key = EndKey::from(near);
    let Ok(mut journal) = maps.journal.get(&key, 0) else { return Ok(()) };
    let switched = Unfit(journal.flags & Unfit::ALL.0);
    if let Some(far) = snapshot.peer_of(near).filter(|_| switched != Unfit::default()) {
        Place::of(snapshot, far)?.within(|link| Ok(switched.switch(link.index, false)?))?;
    }
    journal.flags &= !Unfit::ALL.0;
    if journal == Journal::default() {
        maps.journal.remove(&key)?;
    } else {
        maps.journal.insert(key, journal, 0)?;
    }
    Ok(())
}
