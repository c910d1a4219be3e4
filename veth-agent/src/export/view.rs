//! What the page shows: the living ends, and for a while those that are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    labels::{self, EndLabels, PairInfo},
    sizes,
};
use crate::{
    collect::{self, DropReader, DropsByReason, EndReading},
    datapath::{AttachError, Maps},
    inventory::{Pair, PairState, Snapshot},
    mtu::{self, Kind},
    types::EndId,
};

/// An end that exists.
#[derive(Clone, Debug)]
pub struct LiveEnd {
    /// Its identity.
    pub end: EndId,
    /// Its labels.
    pub labels: EndLabels,
    /// The other end, where it was seen.
    pub peer: Option<EndId>,
    /// Its pair.
    pub info: PairInfo,
    /// Administratively up, with a carrier.
    pub up: bool,
    /// Bytes.
    pub mtu: u32,
    /// What may differ from its size, and whether it does.
    pub mismatches: [(Kind, bool); 3],
}

impl LiveEnd {
    fn new(
        snapshot: &Snapshot,
        pair: &Pair,
        end: EndId,
        mismatches: &BTreeSet<(EndId, Kind)>,
    ) -> Option<Self> {
        let link = snapshot.link(end)?;
        let kinds = sizes::kinds(snapshot.bridge_of(end).is_some());
        Some(Self {
            end,
            labels: labels::of_end(snapshot, end)?,
            peer: snapshot.peer_of(end),
            info: labels::of_pair(snapshot, pair, end),
            up: link.admin_up && link.carrier,
            mtu: link.mtu,
            mismatches: kinds.map(|kind| (kind, mismatches.contains(&(end, kind)))),
        })
    }
}

/// An end that does not exist any more.
#[derive(Clone, Debug)]
pub struct GoneEnd {
    /// Its pair, while it lived.
    pub info: PairInfo,
    /// The last that was counted.
    pub last: EndReading,
    /// What it had lost, by reason.
    pub drops: DropsByReason,
    /// Since when it is gone.
    pub since: Instant,
}

/// All that the page shows.
#[derive(Debug, Default)]
pub struct View {
    /// Ends that exist, by their labels.
    pub live: BTreeMap<EndLabels, LiveEnd>,
    /// Ends that are gone, by their labels.
    pub gone: BTreeMap<EndLabels, GoneEnd>,
    /// Pairs by state.
    pub pairs: BTreeMap<PairState, usize>,
    /// Attach errors by hook and cause.
    pub attach_errors: BTreeMap<(&'static str, &'static str), u64>,
    /// Events lost by source.
    pub events_lost: BTreeMap<&'static str, u64>,
    /// Addresses of namespaces that the programs know.
    pub addresses: usize,
    /// The first picture has been taken and its ends attached.
    pub ready: bool,
}

/// The view and what the kernel counts, shared by the daemon, which writes, and the page, which reads.
#[derive(Clone)]
pub struct SharedView {
    inner: Arc<Mutex<(View, Maps, DropReader)>>,
}

impl SharedView {
    /// An empty view.
    #[must_use]
    pub fn new(maps: Maps, drops: DropReader) -> Self {
        Self { inner: Arc::new(Mutex::new((View::default(), maps, drops))) }
    }

    /// Takes hold of all. A thread that panicked while it held them left whole values.
    pub fn lock(&self) -> MutexGuard<'_, (View, Maps, DropReader)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Takes over a new picture. Ends that are gone keep the last that was counted.
    pub fn update(
        &mut self,
        snapshot: &Snapshot,
        maps: &Maps,
        drops: &mut DropReader,
        now: Instant,
    ) {
        let mut live = BTreeMap::new();
        let mismatches = mtu::by_end(&mtu::mismatches(snapshot));
        self.pairs = PairState::ALL.into_iter().map(|state| (state, 0)).collect();
        for pair in snapshot.pairs() {
            *self.pairs.entry(snapshot.state(&pair)).or_default() += 1;
            let ends = pair.ends();
            let ends = ends.filter_map(|end| LiveEnd::new(snapshot, &pair, end, &mismatches));
            live.extend(ends.map(|end| (end.labels.clone(), end)));
        }
        self.bury(&live, maps, drops, now);
        self.live = live;
    }

    fn bury(
        &mut self,
        live: &BTreeMap<EndLabels, LiveEnd>,
        maps: &Maps,
        drops: &mut DropReader,
        now: Instant,
    ) {
        let is_gone = |(labels, old): &(&EndLabels, &LiveEnd)| {
            live.get(*labels).is_none_or(|new| new.end != old.end)
        };
        let dead: Vec<_> = self.live.iter().filter(is_gone).collect();
        let lost =
            if dead.is_empty() { None } else { drops.read(maps).ok() }.unwrap_or_default().of_ends;
        for (labels, old) in dead {
            let last = collect::read(maps, old.end);
            let drops = lost.get(&old.end).map(|drops| collect::by_reason(drops));
            let drops = drops.unwrap_or_default();
            let gone = GoneEnd { info: old.info.clone(), last, drops, since: now };
            self.gone.insert(labels.clone(), gone);
        }
        // A new end of the same name has the series to itself.
        self.gone.retain(|labels, _| !live.contains_key(labels));
    }

    /// Ends series of ends that have been gone for longer than `linger`.
    pub fn expire(&mut self, linger: Duration, now: Instant) {
        self.gone.retain(|_, gone| now.duration_since(gone.since) < linger);
    }

    /// The ends that exist.
    #[must_use]
    pub fn ends(&self) -> BTreeSet<EndId> {
        self.live.values().map(|live| live.end).collect()
    }

    /// Counts what could not be attached.
    pub fn count_errors<'a>(&mut self, errors: impl IntoIterator<Item = &'a AttachError>) {
        for AttachError { hook, cause, .. } in errors {
            *self.attach_errors.entry((hook, cause.label())).or_default() += 1;
        }
    }
}
