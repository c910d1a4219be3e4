//! The plan of `apply`.

use std::collections::{BTreeSet, HashMap};

use super::{
    Once, Plan, PlanError,
    link::{self, Settle},
    pair::{self, Standing},
    route::{Routes, Through},
    view::{self, Found, Site, View},
};
use crate::{
    inventory::{LinkKind, Snapshot},
    mark::{self, PairMark},
    topology::{
        action::{Action, LinkRef, NewEnd},
        spec::{BridgeSpec, EndSpec, PairSpec, Place, Topology},
    },
    types::{EndId, IfName, NetnsName, PairName},
};

/// Plans what makes `seen` into what is `wanted`. `attached` says whether an end
/// carries our programs.
///
/// # Errors
/// Everything that keeps the plan from being carried out, at once: references to what is neither
/// declared nor there, and things that are in the way.
pub fn apply(
    wanted: &Topology,
    seen: &Snapshot,
    attached: &dyn Fn(EndId) -> bool,
) -> Result<Plan, Vec<PlanError>> {
    let mut planner = Planner::new(wanted, seen, attached);
    wanted.namespaces.iter().for_each(|name| planner.namespace(name));
    wanted.bridges.iter().for_each(|bridge| planner.bridge(bridge));
    wanted.pairs.iter().for_each(|pair| planner.pair(pair));
    planner.finish()
}

/// The steps by phase. Each phase needs the ones before it: a next hop, for one, may only be
/// reachable through another end that has its address and is up.
#[derive(Default)]
struct Phases {
    namespaces: Vec<Action>,
    bridges: Vec<Action>,
    create: Vec<Action>,
    attach: Vec<Action>,
    mark: Vec<Action>,
    settle: Vec<Action>,
    up: Vec<Action>,
}

struct Planner<'a> {
    view: View<'a>,
    attached: &'a dyn Fn(EndId) -> bool,
    bridges: BTreeSet<(&'a Place, &'a IfName)>,
    /// Ends that carry our mark, by the pair that it names.
    marked: HashMap<PairName, Vec<Found<'a>>>,
    phases: Phases,
    routes: Routes<'a>,
    notes: Once<String>,
    errors: Once<PlanError>,
}

impl<'a> Planner<'a> {
    fn new(wanted: &'a Topology, seen: &'a Snapshot, attached: &'a dyn Fn(EndId) -> bool) -> Self {
        let view = View::new(wanted, seen);
        let marked = marked_ends(&view);
        Self {
            view,
            attached,
            bridges: wanted.bridges.iter().map(|bridge| (&bridge.place, &bridge.name)).collect(),
            marked,
            phases: Phases::default(),
            routes: Routes::default(),
            notes: Once::default(),
            errors: Once::default(),
        }
    }

    fn finish(mut self) -> Result<Plan, Vec<PlanError>> {
        self.routes.conflicts().into_iter().for_each(|error| self.errors.push(error));
        if !self.errors.0.is_empty() {
            return Err(self.errors.0);
        }
        let Phases { namespaces, bridges, create, attach, mark, settle, up } = self.phases;
        let mut actions = [namespaces, bridges, create, attach, mark].concat();
        actions.extend(self.routes.removals());
        actions.extend(settle);
        actions.extend(up);
        actions.extend(self.routes.additions());
        Ok(Plan { actions, notes: self.notes.0, left: Vec::new() })
    }

    /// Where `who` is wanted, if that is a place to plan in.
    fn site(&mut self, who: &str, place: &Place) -> Option<Site<'a>> {
        let site = self.view.site(place);
        let error = match (site, place) {
            (Site::There(_) | Site::ToBe, _) => return Some(site),
            (Site::Unseen(unseen), _) => PlanError::Conflict(view::unseen(unseen)),
            (Site::Missing, Some(name)) => PlanError::Invalid(format!(
                "{who}: namespace {:?} is neither declared nor there; declare it under \
                 `namespaces`, or leave the key out for the host's",
                name.as_str()
            )),
            (Site::Missing, None) => PlanError::Conflict(format!(
                "{who}: the agent's own namespace could not be looked into; run as root"
            )),
        };
        self.errors.push(error);
        None
    }

    /// A namespace that is there stays as it is, unless an earlier `apply` made it.
    fn namespace(&mut self, name: &NetnsName) {
        let place = Some(name.clone());
        let Some(site) = self.site(&format!("namespace {:?}", name.as_str()), &place) else {
            return;
        };
        let Site::There(netns) = site else {
            self.phases.namespaces.push(Action::CreateNetns(name.clone()));
            return;
        };
        let loopback = netns.links.values().find(|link| link.kind == LinkKind::Loopback);
        let down = loopback.filter(|lo| lo.alias.as_deref() == Some(mark::NETNS) && !lo.admin_up);
        if let Some(name) = down.and_then(|lo| lo.name.parse().ok()) {
            self.phases.namespaces.push(Action::SetUp { link: LinkRef { place, name }, up: true });
        }
    }

    fn bridge(&mut self, bridge: &'a BridgeSpec) {
        let who = format!("bridge {:?}", bridge.name.as_str());
        if self.site(&who, &bridge.place).is_none() {
            return;
        }
        let link = LinkRef { place: bridge.place.clone(), name: bridge.name.clone() };
        let settle = match self.view.find(&link) {
            None => {
                let (mtu, mac) = (bridge.settings.mtu, bridge.settings.mac);
                let create = Action::CreateBridge { link: link.clone(), mtu, mac };
                self.phases.bridges.push(create);
                link::fresh(&link, &bridge.settings)
            }
            Some(found) if found.link.kind == LinkKind::Bridge => {
                if found.link.newborn {
                    self.phases.bridges.push(Action::MarkBridge(link.clone()));
                }
                link::repair(&link, &bridge.settings, found.link)
            }
            Some(_) => return self.errors.push(not_a_bridge(&link)),
        };
        let settle = self.heard(settle);
        let Settle { remove, change, add, up, .. } = settle;
        self.phases.bridges.extend(remove.into_iter().chain(change).chain(add).chain(up));
    }

    /// Keeps what a link's plan has to say beside its steps.
    fn heard(&mut self, mut settle: Settle) -> Settle {
        settle.conflicts.drain(..).for_each(|error| self.errors.push(error));
        settle.notes.drain(..).for_each(|note| self.notes.push(note));
        settle
    }

    fn pair(&mut self, pair: &'a PairSpec) {
        let sites = [self.end_site(pair, 1), self.end_site(pair, 2)];
        let [Some(first), Some(second)] = sites else { return };
        let standing = match pair::standing(&self.view, pair) {
            Ok(standing) => standing,
            Err(errors) => return errors.into_iter().for_each(|error| self.errors.push(error)),
        };
        let found = match standing {
            Standing::Absent => {
                self.create(pair);
                [None, None]
            }
            Standing::Whole(ends) => {
                self.adopt(pair, ends);
                ends.map(Some)
            }
        };
        self.mention_namesake(pair, found);
        for ((end, site), found) in pair.ends.iter().zip([first, second]).zip(found) {
            self.end(pair, end, site, found);
        }
    }

    fn end_site(&mut self, pair: &'a PairSpec, nth: usize) -> Option<Site<'a>> {
        let end = pair.ends.get(nth - 1)?;
        let who = view::end_name(pair.name.as_str(), nth, &pair::link_ref(end));
        let site = self.site(&who, &end.place)?;
        if let Some(bridge) = &end.bridge
            && let Err(error) = self.bridge_is_there(&who, end, bridge)
        {
            self.errors.push(error);
        }
        Some(site)
    }

    fn bridge_is_there(&self, who: &str, end: &EndSpec, bridge: &IfName) -> Result<(), PlanError> {
        if self.bridges.contains(&(&end.place, bridge)) {
            return Ok(());
        }
        let link = LinkRef { place: end.place.clone(), name: bridge.clone() };
        match self.view.find(&link) {
            Some(found) if found.link.kind == LinkKind::Bridge => Ok(()),
            Some(_) => Err(not_a_bridge(&link)),
            None => Err(PlanError::Invalid(format!(
                "{who}: bridge {bridge} is neither declared nor there; declare it under `bridges`"
            ))),
        }
    }

    fn create(&mut self, pair: &PairSpec) {
        let ends = pair.ends.each_ref().map(|end| NewEnd {
            link: pair::link_ref(end),
            mtu: end.settings.mtu,
            mac: end.settings.mac,
        });
        self.phases
            .attach
            .push(Action::Attach { ends: ends.each_ref().map(|end| end.link.clone()) });
        self.phases.create.push(Action::CreatePair { mark: pair::mark_of(pair), ends });
    }

    fn adopt(&mut self, pair: &PairSpec, found: [Found<'a>; 2]) {
        let links = pair.ends.each_ref().map(pair::link_ref);
        let mark = pair::mark_of(pair);
        for (link, found) in links.iter().zip(found) {
            if found.link.alias.as_deref() != Some(mark.alias().as_str()) {
                self.phases.mark.push(Action::Mark { link: link.clone(), mark: mark.clone() });
            }
        }
        if !found.iter().all(|found| (self.attached)(found.id)) {
            self.phases.attach.push(Action::Attach { ends: links });
        }
    }

    fn mention_namesake(&mut self, pair: &PairSpec, found: [Option<Found<'a>>; 2]) {
        let ends = found.map(|found| found.map(|found| found.id));
        let elsewhere = |other: &&Found<'_>| !ends.contains(&Some(other.id));
        let marked = self.marked.get(&pair.name).map(Vec::as_slice).unwrap_or_default();
        if let Some(other) = marked.iter().find(elsewhere) {
            self.notes.push(pair::namesake(&self.view, pair, *other));
        }
    }

    fn end(&mut self, pair: &PairSpec, end: &EndSpec, site: Site<'a>, found: Option<Found<'a>>) {
        let link = pair::link_ref(end);
        let settle = match found {
            None => link::fresh(&link, &end.settings),
            Some(found) => link::repair(&link, &end.settings, found.link),
        };
        let settle = self.heard(settle);
        self.routes.plan(&Through { link: &link, end, site, found, settle: &settle });
        let bridge = bridge_step(pair, end, &link, found);
        let Settle { remove, change, add, up, .. } = settle;
        self.phases.settle.extend(remove.into_iter().chain(change).chain(bridge).chain(add));
        self.phases.up.extend(up);
    }
}

fn marked_ends<'a>(view: &View<'a>) -> HashMap<PairName, Vec<Found<'a>>> {
    let mut marked: HashMap<_, Vec<_>> = HashMap::new();
    for found in view.all() {
        if let Some(mark) = found.link.alias.as_deref().and_then(PairMark::parse) {
            marked.entry(mark.pair).or_default().push(found);
        }
    }
    marked
}

fn not_a_bridge(link: &LinkRef) -> PlanError {
    PlanError::Conflict(format!(
        "{link} already exists and is not a bridge; rename it or choose another name"
    ))
}

/// An end that is only now adopted stays a port of its bridge if the file names none.
fn bridge_step(
    pair: &PairSpec,
    end: &EndSpec,
    link: &LinkRef,
    found: Option<Found<'_>>,
) -> Option<Action> {
    let master = found.and_then(|found| found.netns.links.get(&found.link.master?));
    let differs = match (&end.bridge, master) {
        (Some(bridge), Some(master)) => bridge.as_str() != master.name,
        (Some(_), None) => true,
        (None, Some(master)) => {
            let ours = found.is_some_and(|found| pair::is_marked(found, &pair.name));
            ours && master.kind == LinkKind::Bridge
        }
        (None, None) => false,
    };
    let bridge = end.bridge.clone();
    differs.then(|| Action::SetBridge { link: link.clone(), bridge })
}
