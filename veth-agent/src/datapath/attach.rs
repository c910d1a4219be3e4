//! Attaches programs to ends, inside their namespace.

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    links::FdLink,
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};
use clap::ValueEnum;
use nix::net::if_::{if_indextoname, if_nametoindex};
use serde::Deserialize;
use veth_common::{
    endpoint::EndKey,
    journal::{Journal, QDISC_ADDED},
};

use super::{
    AttachCause, HookName, Maps, Pins,
    objects::Programs,
    observe, pins,
    plan::AttachEnd,
    qdisc::{self, Qdisc},
};
use crate::{
    netlink::{self, Connection, NetlinkError},
    types::{EndId, IfIndex},
};

/// Which mechanism to attach by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// TCX where the kernel has it, `clsact` elsewhere.
    #[default]
    Auto,
    /// TCX links only (Linux 6.6 and newer).
    Tcx,
    /// `clsact` filters only.
    Clsact,
}

/// How programs are to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// By which mechanism.
    pub mode: AttachMode,
    /// How many ends the maps get room for, when they are made.
    pub max_ends: u32,
    /// Hurry the kernel's grace periods meanwhile.
    pub expedite_rcu: bool,
}

/// The TC priority that runs first, and the handle of our filter there.
pub const PRIORITY: u16 = 1;
const HANDLE: u32 = 1;

/// Attaches what `work` asks for. Runs inside the end's namespace.
///
/// # Errors
/// The hook that could not be had, and why; earlier hooks stay attached.
pub fn attach(
    pins: &Pins,
    maps: &mut Maps,
    programs: &mut Programs,
    work: &AttachEnd,
    name: &str,
    by_tcx: bool,
) -> Result<(), (HookName, AttachCause)> {
    for hook in &work.hooks {
        let attached = same_interface(name, work.end.ifindex).and_then(|()| {
            let program = programs.hook_mut(*hook)?;
            if by_tcx {
                attach_tcx(pins, program, work.end, name, *hook)
            } else {
                attach_clsact(maps, program, work.end, name, *hook)
            }
        });
        attached.map_err(|cause| (*hook, cause))?;
    }
    Ok(())
}

/// aya attaches by name; a rename in between must not lead to another interface.
///
/// # Errors
/// When it would.
pub fn same_interface(name: &str, ifindex: IfIndex) -> Result<(), AttachCause> {
    if if_nametoindex(name)? == ifindex.0 { Ok(()) } else { Err(AttachCause::Gone) }
}

fn attach_tcx(
    pins: &Pins,
    program: &mut SchedClassifier,
    end: EndId,
    name: &str,
    hook: HookName,
) -> Result<(), AttachCause> {
    let link = tcx_link(program, name, hook)?;
    let path = pins.link(end, hook);
    // A pin that is there belongs to an interface that is gone.
    pins::remove_file(&path)?;
    link.pin(&path)?;
    Ok(())
}

/// Attaches a program by a TCX link, inside the end's namespace: as early as possible on ingress and as
/// late as possible on egress. What others drop or redirect in between is then seen as the device sees it.
///
/// # Errors
/// What the kernel said.
pub fn tcx_link(
    program: &mut SchedClassifier,
    name: &str,
    hook: HookName,
) -> Result<FdLink, AttachCause> {
    let (attach_type, order) = match hook {
        HookName::Ingress => (TcAttachType::Ingress, LinkOrder::first()),
        HookName::Egress => (TcAttachType::Egress, LinkOrder::last()),
    };
    let id = program.attach_with_options(name, attach_type, TcAttachOptions::TcxOrder(order))?;
    Ok(program.take_link(id)?.try_into()?)
}

fn attach_clsact(
    maps: &mut Maps,
    program: &mut SchedClassifier,
    end: EndId,
    name: &str,
    hook: HookName,
) -> Result<(), AttachCause> {
    let key = EndKey::from(end);
    let mut journal = maps.journal.get(&key, 0).unwrap_or_default();
    let (qdisc, priority) =
        netlink::block_on(async |connection| survey(&connection, end.ifindex, hook).await)?;
    if qdisc.is_ours || !qdisc.is_there {
        journal.flags |= QDISC_ADDED;
    }
    match hook {
        HookName::Ingress => journal.ingress_priority = priority,
        HookName::Egress => journal.egress_priority = priority,
    }
    // Written down before it is done: what a crash leaves behind can then be found.
    maps.journal.insert(key, journal, 0)?;
    if !qdisc.is_there {
        add_qdisc(maps, key, journal, name)?;
    }
    add_filter(program, name, hook, priority, HANDLE)?;
    if priority != PRIORITY {
        tracing::warn!(
            interface = name,
            %hook,
            priority,
            "another filter has priority 1: packets that it takes are not counted"
        );
    }
    Ok(())
}

/// Adds a program as a filter, inside the end's namespace, which stays until [`delete_filter`] deletes it.
///
/// # Errors
/// What the kernel said.
pub fn add_filter(
    program: &mut SchedClassifier,
    name: &str,
    hook: HookName,
    priority: u16,
    handle: u32,
) -> Result<(), AttachCause> {
    let options = NlOptions { priority, handle: TcHandle::from(handle), classid: None };
    let (attach_type, options) = (observe::attach_type(hook), TcAttachOptions::Netlink(options));
    let attached = program.attach_with_options(name, attach_type, options)?;
    // Dropping the link would delete the filter, and by ifindex in whatever namespace that
    // happens. A filter cannot be pinned; forgotten, it stays (measured).
    std::mem::forget(program.take_link(attached)?);
    Ok(())
}

/// The interface's `clsact` qdisc, and the first priority that is free on `hook`.
async fn survey(
    connection: &Connection,
    ifindex: IfIndex,
    hook: HookName,
) -> Result<(Qdisc, u16), NetlinkError> {
    let qdisc = qdisc::survey(connection, ifindex).await?;
    let taken = observe::filters(connection, ifindex, hook).await?;
    let free = (PRIORITY..u16::MAX)
        .find(|priority| taken.iter().all(|filter| filter.priority != *priority));
    Ok((qdisc, free.unwrap_or(u16::MAX)))
}

fn add_qdisc(
    maps: &mut Maps,
    key: EndKey,
    mut journal: Journal,
    name: &str,
) -> Result<(), AttachCause> {
    match qdisc_add_clsact(name) {
        Ok(()) => Ok(()),
        Err(error) => {
            let cause = AttachCause::from(aya::programs::ProgramError::TcError(error));
            journal.flags &= !QDISC_ADDED;
            maps.journal.insert(key, journal, 0)?;
            Err(cause)
        }
    }
}

/// Deletes our filter, inside its namespace, whatever the interface is called by now.
///
/// # Errors
/// What the kernel said; a filter that is gone already is fine.
pub fn delete_filter(
    ifindex: IfIndex,
    hook: HookName,
    priority: u16,
    handle: u32,
) -> Result<(), AttachCause> {
    use aya::programs::Link as _;

    let Ok(name) = if_indextoname(ifindex.0) else { return Ok(()) };
    let name = name.to_string_lossy();
    match filter_link(&name, hook, priority, handle)?.detach().map_err(AttachCause::from) {
        Err(AttachCause::Gone) => Ok(()),
        other => other,
    }
}

/// Our filter as aya knows it. Detaches where it is dropped, by ifindex in the dropping thread's
/// namespace.
///
/// # Errors
/// When there is no such interface here.
pub fn filter_link(
    name: &str,
    hook: HookName,
    priority: u16,
    handle: u32,
) -> Result<SchedClassifierLink, AttachCause> {
    let (attach_type, handle) = (observe::attach_type(hook), TcHandle::from(handle));
    Ok(SchedClassifierLink::attached(name, attach_type, priority, handle, None)?)
}
