//! What is attached, asked of the kernel inside the namespace.

use std::collections::BTreeMap;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_links};
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

use veth_common::names;

use super::{DatapathError, HookName, Pins, objects};
use crate::{
    inventory::{Namespace, Snapshot},
    netlink::{self, Connection},
    netns::{self, NetnsError},
    types::{EndId, IfIndex, NetnsCookie},
};

/// How a program hangs on a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A TCX link (Linux 6.6).
    Tcx,
    /// A filter below a `clsact` qdisc.
    Clsact {
        /// TC priority.
        priority: u16,
        /// TC handle.
        handle: u32,
    },
    /// An XDP link, in the driver.
    Xdp,
}

impl Method {
    /// The word in outputs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact { .. } => "clsact",
            Self::Xdp => "xdp",
        }
    }
}

/// Our program on one hook, and its place among others of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// How it hangs there.
    pub method: Method,
    /// How many programs and filters run ahead of it. What they take, it does not see.
    pub ahead: usize,
    /// How many the hook has: of a chain of TCX programs, those; below a `clsact` qdisc, filters and
    /// the TCX programs, which all run ahead of them.
    pub of: usize,
    /// Id of the program in the kernel.
    pub program: u32,
}

impl Hook {
    /// The same, where so many more run ahead.
    const fn behind(self, others: usize) -> Self {
        Self { ahead: self.ahead + others, of: self.of + others, ..self }
    }
}

/// Our programs on the hooks of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndHooks {
    /// For packets that arrive.
    pub ingress: Option<Hook>,
    /// For packets that leave.
    pub egress: Option<Hook>,
    /// For frames that arrive, ahead of both, where the datapath is `xdp`.
    pub xdp: Option<Hook>,
}

impl EndHooks {
    /// The program on one hook of TC.
    #[must_use]
    pub const fn get(&self, hook: HookName) -> Option<Hook> {
        match hook {
            HookName::Ingress => self.ingress,
            HookName::Egress => self.egress,
        }
    }

    pub(super) const fn set(&mut self, hook: HookName, found: Option<Hook>) {
        match hook {
            HookName::Ingress => self.ingress = found,
            HookName::Egress => self.egress = found,
        }
    }

    /// Whether both hooks of TC are taken.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.ingress.is_some() && self.egress.is_some()
    }

    /// Whether neither is.
    #[must_use]
    pub const fn empty(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// Our programs on all ends of a snapshot. Namespaces that vanish meanwhile have none.
///
/// # Errors
/// When it cannot be seen what is pinned.
pub fn hooks(pins: &Pins, snapshot: &Snapshot) -> Result<BTreeMap<EndId, EndHooks>, DatapathError> {
    let mut hooks = BTreeMap::new();
    let programs = pins.pinned_programs()?;
    for netns in snapshot.namespaces.values() {
        if programs.iter().any(|(cookie, _)| *cookie == netns.cookie) {
            hooks.extend(hooks_within(pins, netns).unwrap_or_default());
        }
    }
    Ok(hooks)
}

/// Our programs on the ends of one namespace.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn hooks_within(
    pins: &Pins,
    netns: &Namespace,
) -> Result<BTreeMap<EndId, EndHooks>, NetnsError> {
    let ids = objects::pinned_ids(pins, netns.cookie);
    if ids == [None, None] {
        return Ok(BTreeMap::new());
    }
    let xdp = objects::pinned_xdp_id(pins, netns.cookie);
    netns::within_known(&netns.path, netns.cookie, || {
        netns
            .links
            .values()
            .filter(|link| link.kind.is_paired())
            .map(|link| {
                let tc = look(pins, netns.cookie, link.index, &link.name, ids);
                let ours = link.xdp.filter(|id| Some(*id) == xdp);
                let xdp =
                    ours.map(|program| Hook { method: Method::Xdp, ahead: 0, of: 1, program });
                (netns.end(link.index), EndHooks { xdp, ..tc })
            })
            .collect()
    })
}

/// Looks at the TC hooks of one end, inside its namespace.
pub(super) fn look(
    pins: &Pins,
    netns: NetnsCookie,
    ifindex: IfIndex,
    name: &str,
    ids: [Option<u32>; 2],
) -> EndHooks {
    let end = EndId { netns, ifindex };
    let mut hooks = EndHooks::default();
    for (hook, id) in HookName::BOTH.into_iter().zip(ids) {
        let Some(id) = id else { continue };
        let by_link = pins.link(end, hook).exists().then(|| tcx(name, hook, id)).flatten();
        hooks.set(hook, by_link);
    }
    if !hooks.complete() {
        add_filters(&mut hooks, ifindex, name, ids);
    }
    hooks
}

fn tcx(name: &str, hook: HookName, id: u32) -> Option<Hook> {
    let chain = tcx_chain(name, hook);
    let ahead = chain.iter().position(|program| program.id() == id)?;
    Some(Hook { method: Method::Tcx, ahead, of: chain.len(), program: id })
}

/// The programs that hang on a hook by TCX, in the order in which they run, inside the namespace; none on a
/// kernel without TCX. Those of traces are left out: they take nothing and come and go.
#[must_use]
pub fn tcx_chain(name: &str, hook: HookName) -> Vec<ProgramInfo> {
    let Ok((_, chain)) = SchedClassifier::query_tcx(name, attach_type(hook)) else {
        return Vec::new();
    };
    let traces = |program: &ProgramInfo| program.name_as_str().is_some_and(is_of_trace);
    chain.into_iter().filter(|program| !traces(program)).collect()
}

fn is_of_trace(program: &str) -> bool {
    program.starts_with(names::TRACE_PREFIX)
}

/// Ids of the links of each program that has any, by the program's id.
#[must_use]
pub fn links_by_program() -> BTreeMap<u32, Vec<u32>> {
    let mut links: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for link in loaded_links().filter_map(Result::ok) {
        links.entry(link.program_id()).or_default().push(link.id());
    }
    links
}

/// The hook as aya names it.
#[must_use]
pub const fn attach_type(hook: HookName) -> TcAttachType {
    match hook {
        HookName::Ingress => TcAttachType::Ingress,
        HookName::Egress => TcAttachType::Egress,
    }
}

fn add_filters(hooks: &mut EndHooks, ifindex: IfIndex, name: &str, ids: [Option<u32>; 2]) {
    let found = netlink::block_on(async |connection| {
        let mut found = [None; 2];
        for ((hook, id), place) in HookName::BOTH.into_iter().zip(ids).zip(&mut found) {
            if let Some(id) = id {
                *place = filter(&connection, ifindex, hook, id).await?;
            }
        }
        Ok::<_, netlink::NetlinkError>(found)
    });
    for (hook, found) in HookName::BOTH.into_iter().zip(found.unwrap_or_default()) {
        if hooks.get(hook).is_none() {
            let by_tcx = tcx_chain(name, hook).len();
            hooks.set(hook, found.map(|hook| hook.behind(by_tcx)));
        }
    }
}

async fn filter(
    connection: &Connection,
    ifindex: IfIndex,
    hook: HookName,
    id: u32,
) -> Result<Option<Hook>, netlink::NetlinkError> {
    let filters = filters(connection, ifindex, hook).await?;
    let ahead = filters.iter().position(|filter| filter.program == Some(id));
    Ok(ahead.map(|ahead| {
        let Filter { priority, handle, .. } = filters[ahead];
        let method = Method::Clsact { priority, handle };
        Hook { method, ahead, of: filters.len(), program: id }
    }))
}

/// A TC filter, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// TC priority.
    pub priority: u16,
    /// TC handle.
    pub handle: u32,
    /// Id of its program, where it is a BPF filter.
    pub program: Option<u32>,
    /// Whether a trace has put it there.
    pub is_of_trace: bool,
    /// Whether it is for frames of all protocols.
    pub takes_all: bool,
}

/// The filters on one hook of an interface, in the order in which they run, without those of traces.
///
/// # Errors
/// When they cannot be listed.
pub async fn filters(
    connection: &Connection,
    ifindex: IfIndex,
    hook: HookName,
) -> Result<Vec<Filter>, netlink::NetlinkError> {
    let mut filters = all_filters(connection, ifindex, hook).await?;
    filters.retain(|filter| !filter.is_of_trace);
    Ok(filters)
}

/// The filters on one hook of an interface, in the order in which they run.
///
/// # Errors
/// When they cannot be listed.
pub async fn all_filters(
    connection: &Connection,
    ifindex: IfIndex,
    hook: HookName,
) -> Result<Vec<Filter>, netlink::NetlinkError> {
    let minor = match hook {
        HookName::Ingress => TcHandle::MIN_INGRESS,
        HookName::Egress => TcHandle::MIN_EGRESS,
    };
    let parent = TcHandle { major: 0xffff, minor };
    match netlink::tc_filters(connection, ifindex.0, parent).await {
        Ok(messages) => Ok(messages.iter().filter_map(read_filter).collect()),
        // No clsact, no filters: EINVAL or EOPNOTSUPP, by kernel.
        Err(error) if error.errno().is_some() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// `ETH_P_ALL` as it goes over a wire.
const ALL_PROTOCOLS: u32 = (3_u16).to_be() as u32;

/// Reads a filter; the head of a priority, which has no handle, is none.
fn read_filter(message: &TcMessage) -> Option<Filter> {
    let handle = u32::from(message.header.handle);
    if handle == 0 {
        return None;
    }
    let priority = u16::try_from(message.header.info >> 16).ok()?;
    let takes_all = message.header.info & 0xffff == ALL_PROTOCOLS;
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let (mut program, mut is_of_trace) = (None, false);
    for option in options.into_iter().flatten() {
        match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => program = Some(*id),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => {
                is_of_trace = self::is_of_trace(name)
            }
            _ => {}
        }
    }
    Some(Filter { priority, handle, program, is_of_trace, takes_all })
}
