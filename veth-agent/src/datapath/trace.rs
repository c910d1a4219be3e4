//! Puts the programs of a trace on ends, beside whatever else is there, for as long as it is held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
    time::SystemTime,
};

use aya::programs::{links::FdLink, tc::qdisc_add_clsact};
use veth_common::journal::QDISC_ADDED;

use super::{
    AttachCause, AttachError, AttachMode, DatapathError, HookName, Lock, Pins, TraceMaps,
    TraceSettings, Traces, attach,
    objects::{self, LoadedTrace, TracePrograms},
    observe,
    qdisc::{self, Qdisc},
};
use crate::{
    inventory::{self, Depth, Namespace, Snapshot},
    netlink, netns,
    types::{EndId, IfIndex, NetnsCookie},
};

/// A trace that runs.
pub struct Tracing {
    /// Where its programs write.
    pub maps: TraceMaps,
    /// What holds them.
    pub links: TraceLinks,
    /// What could not be attached.
    pub errors: Vec<AttachError>,
    /// Why what the kernel drops is not seen, where that was asked for.
    pub no_drops: Option<DatapathError>,
}

/// Programs on ends; they are taken off when this is dropped.
pub struct TraceLinks {
    pins: Pins,
    /// Held where there are filters.
    running: Option<Traces>,
    links: Vec<FdLink>,
    filters: Vec<(Namespace, Vec<Filter>)>,
    ends: BTreeSet<EndId>,
    behind: usize,
}

/// A program below a `clsact` qdisc.
struct Filter {
    ifindex: IfIndex,
    hook: HookName,
    priority: u16,
    handle: u32,
    owns_qdisc: bool,
}

impl TraceLinks {
    fn new(pins: &Pins) -> Self {
        let (links, filters, ends) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { pins: pins.clone(), running: None, links, filters, ends, behind: 0 }
    }

    /// The ends that have at least one program.
    #[must_use]
    pub const fn ends(&self) -> &BTreeSet<EndId> {
        &self.ends
    }

    /// On how many hooks filters of others run on the wrong side of the trace: what they take, it does not see.
    #[must_use]
    pub const fn behind(&self) -> usize {
        self.behind
    }

    /// Takes the programs off. What has gone with its namespace is gone.
    pub fn detach(&mut self) {
        self.links.clear();
        for (netns, filters) in self.filters.drain(..) {
            // Others must not find a qdisc that goes the next moment.
            let _lock = Lock::acquire(&self.pins);
            // The qdisc goes with the filter that came first, when it is the last.
            let remove = || filters.iter().rev().try_for_each(Filter::remove);
            if let Err(error) = within_wherever(&netns, remove) {
                tracing::warn!(netns = %netns.path.display(), %error, "filters of this trace are left behind");
            }
        }
        self.running = None;
    }
}

/// Visits a namespace whose name may be gone while a process still lives in it.
fn within_wherever(
    netns: &Namespace,
    visit: impl Fn() -> Result<(), AttachCause> + Send + Copy,
) -> Result<(), AttachCause> {
    if let Ok(visited) = netns::within_known(&netns.path, netns.cookie, visit) {
        return visited;
    }
    let Ok(now) = inventory::snapshot(Depth::Links) else { return Ok(()) };
    match now.namespaces.get(&netns.cookie) {
        Some(found) => netns::within_known(&found.path, found.cookie, visit)?,
        // With its filters.
        None => Ok(()),
    }
}

impl Drop for TraceLinks {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Loads the programs of `object` and attaches them to these hooks.
///
/// # Errors
/// Only what stops everything; what could not be attached is in [`Tracing::errors`].
pub fn attach_trace(
    pins: &Pins,
    object: &[u8],
    settings: &TraceSettings,
    snapshot: &Snapshot,
    wanted: &BTreeMap<EndId, Vec<HookName>>,
    mode: AttachMode,
) -> Result<Tracing, DatapathError> {
    let namespaces: BTreeSet<_> = wanted.keys().map(|end| end.netns).collect();
    let namespaces: Vec<NetnsCookie> = namespaces.into_iter().collect();
    let (mut links, mut errors) = (TraceLinks::new(pins), Vec::new());
    let put = |cookie: NetnsCookie, mut programs: TracePrograms| {
        let Some(netns) = snapshot.namespaces.get(&cookie) else { return Ok(()) };
        let here: Vec<_> = wanted.iter().filter(|(end, _)| end.netns == cookie).collect();
        let by_tcx = mode.by_tcx();
        let _lock = if by_tcx { None } else { Some(Lock::acquire(pins)?) };
        if !by_tcx && links.running.is_none() {
            links.running = Some(Traces::join(pins)?);
        }
        let attached = netns::within_known(&netns.path, cookie, || {
            let mut visit = Visit { pins, netns, programs: &mut programs, by_tcx };
            here.iter().map(|(end, hooks)| visit.attach(end, hooks)).collect::<Vec<_>>()
        });
        match attached {
            Ok(done) => done
                .into_iter()
                .for_each(|done| links.take(netns, done, &mut errors, snapshot.host)),
            Err(error) => errors.push(AttachError {
                netns: netns.label(snapshot.host),
                interface: String::new(),
                hook: HookName::Ingress.as_str(),
                cause: AttachCause::from(error),
            }),
        }
        Ok(())
    };
    let LoadedTrace { maps, drops } =
        objects::load_trace(pins, object, settings, &namespaces, put)?;
    let mut no_drops = None;
    match drops {
        Some(Ok(link)) => links.links.push(link),
        Some(Err(error)) => no_drops = Some(error),
        None => {}
    }
    Ok(Tracing { maps, links, errors, no_drops })
}

/// What has been attached to one end, and what not.
struct Done {
    end: EndId,
    name: String,
    links: Vec<FdLink>,
    filters: Vec<Filter>,
    behind: usize,
    failed: Option<(HookName, AttachCause)>,
}

impl TraceLinks {
    fn take(
        &mut self,
        netns: &Namespace,
        done: Done,
        errors: &mut Vec<AttachError>,
        host: NetnsCookie,
    ) {
        let Done { end, name, links, filters, behind, failed } = done;
        if !links.is_empty() || !filters.is_empty() {
            self.ends.insert(end);
        }
        self.links.extend(links);
        self.behind += behind;
        if !filters.is_empty() {
            self.filters.push((netns.clone(), filters));
        }
        if let Some((hook, cause)) = failed {
            let (netns, hook) = (netns.label(host), hook.as_str());
            errors.push(AttachError { netns, interface: name, hook, cause });
        }
    }
}

/// The work in one namespace, on a thread that is inside.
struct Visit<'a> {
    pins: &'a Pins,
    netns: &'a Namespace,
    programs: &'a mut TracePrograms,
    by_tcx: bool,
}

impl Visit<'_> {
    fn attach(&mut self, end: &EndId, hooks: &[HookName]) -> Done {
        let link = self.netns.links.get(&end.ifindex);
        let name = link.map(|link| link.name.clone()).unwrap_or_default();
        let (links, filters) = (Vec::new(), Vec::new());
        let mut done = Done { end: *end, name, links, filters, behind: 0, failed: None };
        for hook in hooks {
            if let Err(cause) = self.attach_hook(&mut done, *hook) {
                done.failed = Some((*hook, cause));
                break;
            }
        }
        done
    }

    fn attach_hook(&mut self, done: &mut Done, hook: HookName) -> Result<(), AttachCause> {
        attach::same_interface(&done.name, done.end.ifindex)?;
        let program = self.programs.hook_mut(hook)?;
        if self.by_tcx {
            done.links.push(attach::tcx_link(program, &done.name, hook)?);
            return Ok(());
        }
        let place = Place::survey(done.end.ifindex, hook)?;
        if !place.qdisc.is_there {
            qdisc_add_clsact(&done.name).map_err(aya::programs::ProgramError::TcError)?;
        }
        let (ifindex, priority) = (done.end.ifindex, place.priority);
        let Qdisc { is_there, is_ours } = place.qdisc;
        let owns_qdisc = !is_there || is_ours || agent_added_qdisc(self.pins, done.end);
        let handle = handle(owns_qdisc);
        let filter = Filter { ifindex, hook, priority, handle, owns_qdisc };
        if let Err(cause) = attach::add_filter(program, &done.name, hook, priority, handle) {
            filter.remove_qdisc()?;
            return Err(cause);
        }
        done.filters.push(filter);
        done.behind += usize::from(place.is_behind);
        Ok(())
    }
}

fn agent_added_qdisc(pins: &Pins, end: EndId) -> bool {
    let journal = objects::read_journal(pins, end).unwrap_or_default();
    journal.flags & QDISC_ADDED != 0
}

/// Where a filter goes.
struct Place {
    qdisc: Qdisc,
    priority: u16,
    is_behind: bool,
}

impl Place {
    /// The first place on ingress, and the last one on egress.
    fn survey(ifindex: IfIndex, hook: HookName) -> Result<Self, AttachCause> {
        let (qdisc, filters) = netlink::block_on(async |connection| {
            let qdisc = qdisc::survey(&connection, ifindex).await?;
            let filters = observe::all_filters(&connection, ifindex, hook).await?;
            Ok::<_, netlink::NetlinkError>((qdisc, filters))
        })?;
        let priority = priority(&filters, hook);
        let mut others = filters.iter().filter(|filter| !filter.is_of_trace);
        let is_behind = others.any(|other| match hook {
            HookName::Ingress => other.priority < priority,
            HookName::Egress => other.priority > priority,
        });
        Ok(Self { qdisc, priority, is_behind })
    }
}

/// Of programs that share a priority, the newest runs first (`cls_bpf_change`).
fn priority(filters: &[observe::Filter], hook: HookName) -> u16 {
    let mut first = filters.iter().filter(|filter| filter.priority == attach::PRIORITY);
    let joinable = first.all(|filter| filter.program.is_some() && filter.takes_all);
    let free = |priority: &u16| filters.iter().all(|filter| filter.priority != *priority);
    let found = match hook {
        HookName::Ingress if joinable => Some(attach::PRIORITY),
        HookName::Ingress => (attach::PRIORITY..=u16::MAX).find(free),
        HookName::Egress => (attach::PRIORITY..=u16::MAX).rev().find(free),
    };
    found.unwrap_or(u16::MAX)
}

/// A handle that no other trace has: one that another has would replace its program.
fn handle(owns_qdisc: bool) -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mixed = now.subsec_nanos() ^ std::process::id().rotate_left(16);
    let unique = mixed.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) & (qdisc::OURS - 1);
    HANDLES | unique | if owns_qdisc { qdisc::OURS } else { 0 }
}

/// Where the handles of traces begin. Ours and those that the kernel gives are small.
const HANDLES: u32 = 1 << 30;

impl Filter {
    /// Deletes it, inside its namespace.
    fn remove(&self) -> Result<(), AttachCause> {
        match attach::delete_filter(self.ifindex, self.hook, self.priority, self.handle) {
            Ok(()) | Err(AttachCause::Gone) => self.remove_qdisc(),
            other => other,
        }
    }

    fn remove_qdisc(&self) -> Result<(), AttachCause> {
        if self.owns_qdisc { qdisc::remove(self.ifindex) } else { Ok(()) }
    }
}
