//! Which addresses may be redirected to, and which pairs may not have it: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use veth_common::{
    endpoint::EndSlot,
    fastpath::{Endpoint, EndpointKey, Mac, address_of},
};

use super::{Facts, Obstacle, XdpFacts, obstacles};
use crate::{
    datapath::{self, DatapathError, Maps, Unfit},
    inventory::{Link, LinkKind, Pair, Route, Snapshot},
    types::{Datapath, EndId, MacAddr, NetnsCookie},
};

/// What the tables should say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Where packets for an address go.
    pub endpoints: BTreeMap<EndpointKey, Endpoint>,
    /// The near ends whose packets may take the fast path.
    pub near: BTreeMap<EndId, Near>,
    /// The near ends of pairs that would have XDP if nothing were in the way just now. What was
    /// prepared for it stays.
    pub waiting: BTreeSet<EndId>,
    /// What is to be said of each pair that asks for it, by the pair's name.
    pub verdicts: BTreeMap<String, Verdict>,
}

/// A near end whose packets may take the fast path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its slot.
    pub slot: u32,
    /// By which programs.
    pub datapath: Datapath,
    /// Its pair's name.
    pub pair: String,
    /// Whether everything is as the programs need it; by XDP, something has to be switched first.
    pub ready: bool,
}

/// What becomes of a pair's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its packets may take the fast path, skipping these things because the file says so.
    Active(Vec<Obstacle>),
    /// They may not, because they would skip these things.
    Refused(Vec<Obstacle>),
    /// They cannot, at least for now.
    Idle(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |obstacles: &[Obstacle]| {
            obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::Active(skipped) if skipped.is_empty() => f.write_str("active"),
            Self::Active(skipped) => write!(f, "active by force, skipping {}", list(skipped)),
            Self::Refused(obstacles) => {
                write!(f, "refused, it would skip {}; `force: true` overrides", list(obstacles))
            }
            Self::Idle(why) => write!(f, "idle, {why}"),
        }
    }
}

/// A near end, and the far one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearEnd {
    /// Where packets are forwarded.
    pub end: EndId,
    /// What they are for.
    pub far: EndId,
    /// By which programs.
    pub datapath: Datapath,
}

/// The near ends of all pairs that ask for the fast path, by namespace.
#[must_use]
pub fn near_ends(snapshot: &Snapshot) -> BTreeMap<NetnsCookie, Vec<NearEnd>> {
    let mut near = BTreeMap::<_, Vec<_>>::new();
    for pair in snapshot.pairs().iter().filter(|pair| pair.datapath() != Datapath::Observe) {
        if let Ok((end, far)) = sides(snapshot, pair) {
            let datapath = pair.datapath();
            near.entry(end.netns).or_default().push(NearEnd { end, far, datapath });
        }
    }
    near
}

/// Plans the tables for what the maps say of slots.
///
/// # Errors
/// When the maps cannot be read.
pub fn plan_for(
    maps: &Maps,
    snapshot: &Snapshot,
    facts: &BTreeMap<NetnsCookie, Facts>,
) -> Result<Plan, DatapathError> {
    let slots = datapath::read_slots(maps)?;
    Ok(plan(snapshot, facts, &|end| slots.get(end)))
}

/// Plans the tables. `slot` gives the entry of an end that has our programs.
#[must_use]
pub fn plan(
    snapshot: &Snapshot,
    facts: &BTreeMap<NetnsCookie, Facts>,
    slot: &dyn Fn(EndId) -> Option<EndSlot>,
) -> Plan {
    let mut plan = Plan::default();
    let mut twice = Vec::new();
    for pair in snapshot.pairs().iter().filter(|pair| pair.datapath() != Datapath::Observe) {
        let verdict = match Candidate::new(snapshot, facts, slot, pair) {
            Ok(candidate) => {
                let verdict = candidate.verdict(pair);
                if matches!(verdict, Verdict::Active(_)) {
                    plan.near.insert(candidate.end, candidate.near_for(pair));
                    for (key, endpoint) in candidate.endpoints(pair.datapath()) {
                        if plan.endpoints.insert(key, endpoint).is_some() {
                            twice.push(key);
                        }
                    }
                }
                verdict
            }
            Err(why) => Verdict::Idle(why),
        };
        if let (Verdict::Idle(_), Ok((near, _))) = (&verdict, sides(snapshot, pair)) {
            plan.waiting.insert(near);
        }
        plan.verdicts.insert(pair.name.clone(), verdict);
    }
    // Whose it is, the stack may know.
    for key in twice {
        plan.endpoints.remove(&key);
    }
    plan
}

impl Plan {
    /// The near ends that something has to be switched for first.
    #[must_use]
    pub fn unready(&self) -> Vec<EndId> {
        self.near.iter().filter(|(_, near)| !near.ready).map(|(end, _)| *end).collect()
    }

    /// Takes a near end out, because it cannot be made ready.
    pub fn give_up(&mut self, end: EndId, why: String) {
        if let Some(near) = self.near.remove(&end) {
            let is_its_own = |key: &EndpointKey, endpoint: &Endpoint| {
                key.netns_cookie == end.netns.0 && endpoint.device == near.slot
            };
            self.endpoints.retain(|key, endpoint| !is_its_own(key, endpoint));
            self.verdicts.insert(near.pair, Verdict::Idle(why));
        }
    }
}

/// The end at which packets are forwarded, and the one that they are for.
fn sides(snapshot: &Snapshot, pair: &Pair) -> Result<(EndId, EndId), String> {
    let second = pair.second.ok_or("its other end cannot be seen")?;
    if pair.first.netns == second.netns {
        // The kernel frees a packet that would stay in its namespace (`skb_do_redirect`).
        return Err("both of its ends are in one namespace".to_owned());
    }
    let ends = [(pair.first, second), (second, pair.first)];
    let bridged = ends.into_iter().find(|(near, _)| snapshot.bridge_of(*near).is_some());
    let on_host = || ends.into_iter().find(|(near, _)| near.netns == snapshot.host);
    bridged
        .or_else(on_host)
        .ok_or_else(|| "packets are forwarded at neither of its ends".to_owned())
}

/// A pair that could have it.
struct Candidate<'a> {
    end: EndId,
    near: &'a Link,
    far: &'a Link,
    bridge: Option<&'a Link>,
    facts: &'a Facts,
    slot: EndSlot,
    macs: [MacAddr; 2],
}

impl<'a> Candidate<'a> {
    fn new(
        snapshot: &'a Snapshot,
        facts: &'a BTreeMap<NetnsCookie, Facts>,
        slot: &dyn Fn(EndId) -> Option<EndSlot>,
        pair: &Pair,
    ) -> Result<Self, String> {
        let (end, far_end) = sides(snapshot, pair)?;
        let gone = || "an end is gone".to_owned();
        let near = snapshot.link(end).ok_or_else(gone)?;
        let far = snapshot.link(far_end).ok_or_else(gone)?;
        if near.kind != LinkKind::Veth {
            return Err("it is no veth pair".to_owned());
        }
        for link in [near, far] {
            if !link.admin_up || !link.carrier {
                return Err(format!("{} is down", link.name));
            }
        }
        let slot = slot(end).ok_or_else(|| format!("{} has no programs", near.name))?;
        let facts = facts.get(&end.netns).ok_or("its namespace was not looked at")?;
        let no_mac = || "an end has no MAC".to_owned();
        let macs = [near.mac.ok_or_else(no_mac)?, far.mac.ok_or_else(no_mac)?];
        let master = near.master.map(|master| EndId { netns: end.netns, ifindex: master });
        let bridge = master.map(|master| snapshot.link(master).ok_or_else(gone)).transpose()?;
        if let Some(master) = bridge.filter(|master| master.kind != LinkKind::Bridge) {
            return Err(format!("its master {} is no bridge", master.name));
        }
        Ok(Self { end, near, far, bridge, facts, slot, macs })
    }

    fn verdict(&self, pair: &Pair) -> Verdict {
        let by_xdp = pair.datapath() == Datapath::Xdp;
        if let Some(why) = self.xdp().filter(|_| by_xdp).and_then(|xdp| self.without_xdp(xdp)) {
            return Verdict::Idle(why);
        }
        let obstacles = obstacles(self.facts, pair.datapath(), self.near, self.far, self.bridge);
        if obstacles.is_empty() || pair.mark.as_ref().is_some_and(|mark| mark.force) {
            Verdict::Active(obstacles)
        } else {
            Verdict::Refused(obstacles)
        }
    }

    fn xdp(&self) -> Option<&XdpFacts> {
        self.facts.ends.get(&self.near.index).map(|end| &end.xdp)
    }

    /// Why XDP cannot work, however much it is wished for.
    fn without_xdp(&self, xdp: &XdpFacts) -> Option<String> {
        if let Some(id) = xdp.foreign {
            return Some(format!("XDP program {id} holds {}; take it off", self.near.name));
        }
        match &xdp.unfit {
            Some(Ok(unfit)) if xdp.attached && *unfit != Unfit::default() => Some(format!(
                "somebody has switched {} at {}, and frames would be lost; switch it back",
                unfit.describe(),
                self.far.name
            )),
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(format!("{}: {why}", self.far.name)),
            None => Some(format!("the offloads of {} were not looked at", self.far.name)),
        }
    }

    fn near_for(&self, pair: &Pair) -> Near {
        let datapath = pair.datapath();
        let attached = self.xdp().is_some_and(|xdp| xdp.attached);
        Near {
            slot: self.slot.slot,
            datapath,
            pair: pair.name.clone(),
            ready: datapath != Datapath::Xdp || attached,
        }
    }

    /// The far end's addresses that packets reach through the near end.
    fn endpoints(&self, datapath: Datapath) -> impl Iterator<Item = (EndpointKey, Endpoint)> {
        let by_xdp = self.xdp().filter(|_| datapath == Datapath::Xdp);
        let largest = by_xdp.and_then(|xdp| xdp.largest);
        self.far.addresses.iter().filter_map(move |address| {
            let address = address.net.addr();
            if !is_global(address) {
                return None;
            }
            let route_mtu = match self.bridge {
                Some(_) => None,
                None => self.route_to(address)?.mtu,
            };
            let key = EndpointKey { netns_cookie: self.end.netns.0, address: address_of(address) };
            let limits = [route_mtu, largest];
            Some((key, self.endpoint(limits.into_iter().flatten().min())))
        })
    }

    /// The route to an address, where it leads to the near end and its family is forwarded here.
    fn route_to(&self, address: IpAddr) -> Option<&Route> {
        let forwarded = match address {
            IpAddr::V4(_) => {
                self.facts.ends.get(&self.near.index).is_some_and(|end| end.forwards_ipv4)
            }
            IpAddr::V6(_) => self.facts.forwards_ipv6,
        };
        let route = best(&self.facts.routes, address)?;
        (forwarded && route.dev == self.near.index && route.via.is_none()).then_some(route)
    }

    fn endpoint(&self, limit: Option<u32>) -> Endpoint {
        let [near_mac, far_mac] = self.macs.map(|mac| Mac::new(mac.0));
        Endpoint {
            ifindex: self.end.ifindex.0,
            device: self.slot.slot,
            generation: self.slot.generation,
            mtu: self.near.mtu.min(self.far.mtu).min(limit.unwrap_or(u32::MAX)),
            bridge: self.bridge.map_or(0, |bridge| bridge.index.0),
            far_mac,
            near_mac,
        }
    }
}

/// The most specific route, and of several such the one with the least metric.
fn best(routes: &[Route], address: IpAddr) -> Option<&Route> {
    let towards = routes.iter().filter(|route| route.to.contains(&address));
    towards.max_by_key(|route| (route.to.prefix_len(), std::cmp::Reverse(route.metric)))
}

/// Whether an address means the same everywhere in its namespace.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}
