//! Brings programs to ends: looks, plans, loads what is missing, attaches.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    AttachCause, AttachError, AttachMode, AttachOptions, DatapathError, EndHooks, HookName, Lock,
    Maps, Pins, attach,
    drops::forget_drops,
    hurry,
    objects::{self, Programs},
    observe,
    plan::{self, AttachEnd},
    slots::Slots,
};
use crate::{
    inventory::{Namespace, Snapshot},
    netns,
    preflight::{Feature, MissingFeature},
    types::{EndId, NetnsCookie},
};

/// Which ends a call is about.
#[derive(Clone, Debug)]
pub enum Scope<'a> {
    /// All ends of all pairs.
    All,
    /// The ends in these namespaces.
    Namespaces(&'a BTreeSet<NetnsCookie>),
    /// These ends.
    Ends(&'a BTreeSet<EndId>),
}

impl Scope<'_> {
    fn ends(&self, snapshot: &Snapshot) -> BTreeSet<EndId> {
        let chosen = |end: &EndId| match self {
            Self::All => true,
            Self::Namespaces(namespaces) => namespaces.contains(&end.netns),
            Self::Ends(ends) => ends.contains(end),
        };
        snapshot.ends().filter(chosen).collect()
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Ends that have both programs now and had not before.
    pub attached: BTreeSet<EndId>,
    /// What is attached on the ends that were looked at, those just attached included.
    pub hooks: BTreeMap<EndId, EndHooks>,
    /// What could not be done.
    pub errors: Vec<AttachError>,
    /// How long it took.
    pub took: Duration,
}

impl AttachMode {
    /// Refuses a mechanism that the kernel has not got.
    ///
    /// # Errors
    /// What is missing.
    pub fn require(self) -> Result<(), MissingFeature> {
        if self.by_tcx() { Feature::Tcx.require() } else { Feature::Clsact.require() }
    }

    /// Whether programs are attached by TCX on this kernel.
    #[must_use]
    pub fn by_tcx(self) -> bool {
        match self {
            Self::Auto => Feature::Tcx.available(),
            Self::Tcx => true,
            Self::Clsact => false,
        }
    }
}

/// Attaches programs to the ends in `scope` that have none.
///
/// # Errors
/// Only what stops everything; what goes wrong with one end is in [`Outcome::errors`].
pub fn reconcile(
    pins: &Pins,
    maps: &mut Maps,
    snapshot: &Snapshot,
    scope: &Scope<'_>,
    options: AttachOptions,
) -> Result<Outcome, DatapathError> {
    let started = Instant::now();
    let _lock = Lock::acquire(pins)?;
    let by_tcx = options.mode.by_tcx();
    let wanted = scope.ends(snapshot);
    let mut outcome = Outcome { hooks: look(pins, snapshot, &wanted), ..Outcome::default() };
    let mut slots = read_slots(maps)?;
    let plan = plan::plan(&wanted, &outcome.hooks, |end| slots.get(end).is_some());
    load_missing(pins, plan.attach.keys())?;
    hurry::end(maps);
    let hurrying = !plan.attach.is_empty() && hurry::begin(maps, options.expedite_rcu);
    for (cookie, work) in &plan.attach {
        if let Some(netns) = snapshot.namespaces.get(cookie) {
            let mut visit = Visit { pins, maps, slots: &mut slots, netns, by_tcx };
            visit.attach(work, snapshot, &mut outcome);
        }
    }
    if hurrying {
        hurry::end(maps);
    }
    outcome.took = started.elapsed();
    Ok(outcome)
}

fn look(pins: &Pins, snapshot: &Snapshot, wanted: &BTreeSet<EndId>) -> BTreeMap<EndId, EndHooks> {
    let cookies: BTreeSet<_> = wanted.iter().map(|end| end.netns).collect();
    let mut hooks = BTreeMap::new();
    for netns in cookies.iter().filter_map(|cookie| snapshot.namespaces.get(cookie)) {
        hooks.extend(observe::hooks_within(pins, netns).unwrap_or_default());
    }
    hooks
}

/// The slots as they stand in the map.
///
/// # Errors
/// When the map cannot be read.
pub fn read_slots(maps: &Maps) -> Result<Slots, DatapathError> {
    Slots::read(maps).map_err(|error| DatapathError::Map {
        name: veth_common::names::MAP_ENDS,
        source: Box::new(error),
    })
}

fn load_missing<'a>(
    pins: &Pins,
    cookies: impl Iterator<Item = &'a NetnsCookie>,
) -> Result<(), DatapathError> {
    let missing: Vec<_> = cookies
        .copied()
        .filter(|cookie| objects::pinned_ids(pins, *cookie).contains(&None))
        .collect();
    objects::load(pins, &missing)
}

/// The work in one namespace.
struct Visit<'a> {
    pins: &'a Pins,
    maps: &'a mut Maps,
    slots: &'a mut Slots,
    netns: &'a Namespace,
    by_tcx: bool,
}

impl Visit<'_> {
    fn attach(&mut self, work: &[AttachEnd], snapshot: &Snapshot, outcome: &mut Outcome) {
        let results = self.attach_all(work);
        let label = self.netns.label(snapshot.host);
        for (end, name, result) in results {
            match result {
                Ok(hooks) => {
                    outcome.hooks.insert(end, hooks);
                    outcome.attached.insert(end);
                }
                Err((hook, cause)) => {
                    let (netns, interface) = (label.clone(), name);
                    let hook = hook.as_str();
                    outcome.errors.push(AttachError { netns, interface, hook, cause });
                }
            }
        }
    }

    fn attach_all(&mut self, work: &[AttachEnd]) -> Vec<Attached> {
        let mut programs = match Programs::pinned(self.pins, self.netns.cookie) {
            Ok(programs) => programs,
            Err(error) => return self.all_failed(work, &AttachCause::from(error)),
        };
        let ids = objects::pinned_ids(self.pins, self.netns.cookie);
        let (path, cookie) = (self.netns.path.clone(), self.netns.cookie);
        let visited = netns::within_known(&path, cookie, || {
            work.iter().map(|end| self.attach_one(&mut programs, end, ids)).collect()
        });
        visited.unwrap_or_else(|error| self.all_failed(work, &AttachCause::from(error)))
    }

    fn attach_one(
        &mut self,
        programs: &mut Programs,
        work: &AttachEnd,
        ids: [Option<u32>; 2],
    ) -> Attached {
        let name = self.name(work.end);
        let result = self.prepare(work).and_then(|()| {
            attach::attach(self.pins, self.maps, programs, work, &name, self.by_tcx)
        });
        let hooks =
            result.map(|()| observe::look(self.pins, work.end.netns, work.end.ifindex, &name, ids));
        (work.end, name, hooks)
    }

    /// The slot comes before the program: nothing is counted nowhere.
    fn prepare(&mut self, work: &AttachEnd) -> Result<(), (HookName, AttachCause)> {
        if !work.fresh {
            return Ok(());
        }
        let cause = |cause| (HookName::Ingress, cause);
        if self.slots.get(work.end).is_some() {
            // An earlier owner of the index has lost packets, too.
            let forgotten = forget_drops(self.maps, &BTreeSet::from([work.end]));
            forgotten.map_err(|error| cause(AttachCause::from(error)))?;
        }
        self.slots.assign(self.maps, work.end).map_err(cause)
    }

    fn all_failed(&self, work: &[AttachEnd], cause: &AttachCause) -> Vec<Attached> {
        let failed = |end: &AttachEnd| {
            (end.end, self.name(end.end), Err((HookName::Ingress, cause.clone())))
        };
        work.iter().map(failed).collect()
    }

    fn name(&self, end: EndId) -> String {
        self.netns.links.get(&end.ifindex).map(|link| link.name.clone()).unwrap_or_default()
    }
}

type Attached = (EndId, String, Result<EndHooks, (HookName, AttachCause)>);
