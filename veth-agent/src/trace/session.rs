//! One trace, from the first program to the last count.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use aya::maps::{Array, MapData, MapError, PerCpuArray};
use thiserror::Error;
use veth_common::trace::Seen;

use super::{
    EndName, SelectError, Selection,
    filter::{Filter, FilterError},
    follow::Cables,
    select::{bridge_of, drop_places, select},
};
use crate::{
    btf::Btf,
    collect::{self, Captured, DropNames, Rings},
    datapath::{
        self, AttachError, AttachMode, DatapathError, DropSettings, DropsError, HookName, Offsets,
        Pins, TraceLinks, TraceSettings,
    },
    inventory::Snapshot,
    types::EndId,
};

/// All rings together take at most so many bytes, and one at least and at most so many.
const RINGS_BYTES: u64 = 64 << 20;
const RING_BYTES: [u64; 2] = [256 << 10, 8 << 20];

/// What to look at, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Which ends.
    pub selection: Selection,
    /// Which packets; all where there is none.
    pub filter: Option<Filter>,
    /// Bytes of a frame that are captured, at the most.
    pub snaplen: u32,
    /// How many packets are recorded, at the most.
    pub limit: Option<u32>,
    /// What is looked at.
    pub watch: Watch,
    /// Whether the process that sends is looked for.
    pub processes: bool,
    /// By which mechanism its programs are attached.
    pub attach: AttachMode,
}

/// What a trace looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Packets that pass ends, and those that the kernel drops there.
    #[default]
    All,
    /// Packets that pass.
    Passing,
    /// Packets that are dropped.
    Drops,
}

/// What is known of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndInfo {
    /// How people call it.
    pub name: EndName,
    /// The other end of its pair.
    pub peer: Option<EndName>,
    /// How the kernel knows that.
    pub peer_id: Option<EndId>,
    /// Bytes.
    pub mtu: u32,
}

/// A trace that runs. It ends, and takes its programs off, when it is dropped.
pub struct Session {
    links: TraceLinks,
    rings: Rings,
    seen: PerCpuArray<MapData, Seen>,
    over: Array<MapData, u32>,
    limited: bool,
    ends: BTreeMap<EndId, Arc<EndInfo>>,
    watched: BTreeSet<EndId>,
    seen_leaving: BTreeSet<EndId>,
    /// What could not be attached.
    pub errors: Vec<AttachError>,
    /// What the kernel calls its reasons and places, where drops are looked for.
    pub names: Option<DropNames>,
    /// Why packets that the kernel drops are not shown.
    pub no_drops: Option<String>,
}

/// Why a trace could not begin.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nothing to look at.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The filter cannot be put into the programs.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// What the kernel drops cannot be seen.
    #[error("dropped packets cannot be seen: {0}")]
    Drops(#[from] DropsError),
    /// The kernel refused.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// No end could be attached to.
    #[error("no end could be traced: {0}")]
    Nowhere(AttachError),
}

impl Session {
    /// Attaches the programs of `object`.
    ///
    /// # Errors
    /// When nothing can be traced.
    pub fn start(
        pins: &Pins,
        snapshot: &Snapshot,
        object: &[u8],
        plan: &Plan,
    ) -> Result<Self, StartError> {
        let mut wanted = select(snapshot, &plan.selection)?;
        let Insight { offsets, names, drops, mut no_drops } = Insight::of(plan, snapshot, &wanted)?;
        if plan.watch == Watch::Drops {
            wanted.values_mut().for_each(Vec::clear);
        }
        let filtered = plan.filter.as_ref().map(|filter| filter.put_into(object)).transpose()?;
        let settings = TraceSettings {
            snaplen: plan.snaplen,
            limit: plan.limit,
            filter_reach: plan.filter.as_ref().map_or(0, Filter::reach),
            ring_bytes: ring_bytes(cpus()),
            processes: plan.processes,
            offsets,
            drops,
        };
        let object = filtered.as_deref().unwrap_or(object);
        let tracing =
            datapath::attach_trace(pins, object, &settings, snapshot, &wanted, plan.attach)?;
        let datapath::Tracing { maps, links, mut errors, no_drops: refused } = tracing;
        match refused {
            Some(error) if plan.watch == Watch::Drops => return Err(error.into()),
            Some(error) => no_drops = Some(error.to_string()),
            None => {}
        }
        if links.ends().is_empty() && !errors.is_empty() {
            return Err(StartError::Nowhere(errors.swap_remove(0)));
        }
        let datapath::TraceMaps { rings, seen, over } = maps;
        let watched = match plan.watch {
            Watch::Drops => wanted.keys().copied().collect(),
            Watch::All | Watch::Passing => links.ends().clone(),
        };
        let leaving =
            |end: &&EndId| wanted.get(end).is_some_and(|it| it.contains(&HookName::Egress));
        let seen_leaving = links.ends().iter().filter(leaving).copied().collect();
        Ok(Self {
            links,
            seen_leaving,
            rings: Rings::new(rings),
            seen,
            over,
            limited: plan.limit.is_some(),
            ends: ends(snapshot),
            watched,
            errors,
            names,
            no_drops,
        })
    }

    /// How many ends are looked at.
    #[must_use]
    pub fn attached(&self) -> usize {
        self.watched.len()
    }

    /// Their names.
    pub fn watched(&self) -> impl Iterator<Item = &EndName> {
        let known = self.watched.iter().filter_map(|end| self.ends.get(end));
        known.map(|info| &info.name)
    }

    /// On how many hooks filters of others come first.
    #[must_use]
    pub const fn behind(&self) -> usize {
        self.links.behind()
    }

    /// What it takes to follow packets.
    pub(super) fn cables(&self) -> Cables {
        let peers = self.ends.iter().filter_map(|(end, info)| Some((*end, info.peer_id?)));
        Cables { peers: peers.collect(), seen_leaving: self.seen_leaving.clone() }
    }

    /// What has come, in order.
    pub fn poll(&mut self) -> Vec<Captured> {
        self.rings.poll()
    }

    /// Whether as many packets as were asked for have been recorded.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.limited && self.over.get(&0, 0).is_ok_and(|over| over != 0)
    }

    /// What is known of the end that an event names.
    #[must_use]
    pub fn end(&self, id: EndId) -> Option<&Arc<EndInfo>> {
        self.ends.get(&id)
    }

    /// Takes the programs off, and gives what is left and what was counted: nothing counts any more.
    ///
    /// # Errors
    /// When the counts cannot be read.
    pub fn stop(&mut self) -> Result<(Vec<Captured>, Seen), MapError> {
        self.links.detach();
        let left = self.rings.finish();
        Ok((left, collect::seen(&self.seen)?))
    }

    /// Records that could not be understood.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.rings.malformed()
    }
}

/// What it takes to look into the kernel's memory.
#[derive(Default)]
struct Insight {
    offsets: Offsets,
    names: Option<DropNames>,
    drops: Option<DropSettings>,
    no_drops: Option<String>,
}

impl Insight {
    /// Fails only where there would be nothing else to see.
    fn of(
        plan: &Plan,
        snapshot: &Snapshot,
        wanted: &BTreeMap<EndId, Vec<HookName>>,
    ) -> Result<Self, DropsError> {
        let drops_asked = plan.watch != Watch::Passing;
        if !drops_asked && !plan.processes {
            return Ok(Self::default());
        }
        // Read once: to look through it takes a while.
        let types = Btf::of_kernel();
        let offsets = types.as_ref().map(datapath::kernel_offsets).unwrap_or_default();
        if !drops_asked {
            return Ok(Self { offsets, ..Self::default() });
        }
        let seen = types.map_err(DropsError::from).and_then(|types| {
            let names = DropNames::of(&types);
            let places = drop_places(snapshot, &plan.selection, wanted);
            let drops = datapath::drop_settings(places.into_iter(), names.normal())?;
            Ok((names, drops))
        });
        match seen {
            Ok((names, drops)) => {
                Ok(Self { offsets, names: Some(names), drops: Some(drops), no_drops: None })
            }
            Err(error) if plan.watch == Watch::Drops => Err(error),
            Err(error) => {
                Ok(Self { offsets, no_drops: Some(error.to_string()), ..Self::default() })
            }
        }
    }
}

fn cpus() -> u64 {
    aya::util::nr_cpus().map_or(1, |cpus| cpus as u64)
}

/// Bytes of each ring: a power of two.
fn ring_bytes(cpus: u64) -> u32 {
    let [least, most] = RING_BYTES;
    let share = (RINGS_BYTES / cpus.max(1)).clamp(least, most);
    let power = if share.is_power_of_two() { share } else { share.next_power_of_two() / 2 };
    u32::try_from(power).unwrap_or(1 << 20)
}

fn ends(snapshot: &Snapshot) -> BTreeMap<EndId, Arc<EndInfo>> {
    let name = |end: EndId| {
        let netns = snapshot.namespaces.get(&end.netns)?;
        let interface = netns.links.get(&end.ifindex)?.name.clone();
        Some(EndName { netns: netns.label(snapshot.host), interface })
    };
    let info = |end: EndId| {
        let peer_id = snapshot.peer_of(end);
        let peer = peer_id.and_then(name);
        let mtu = snapshot.link(end)?.mtu;
        Some((end, Arc::new(EndInfo { name: name(end)?, peer, peer_id, mtu })))
    };
    let bridges = snapshot.ends().filter_map(|end| bridge_of(snapshot, end));
    snapshot.ends().chain(bridges).filter_map(info).collect()
}

/// How far `CLOCK_MONOTONIC` is behind the clock on the wall.
#[must_use]
pub fn clock_offset() -> Duration {
    let wall = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    wall.saturating_sub(collect::monotonic())
}
