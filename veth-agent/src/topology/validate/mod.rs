//! From the file as written to a checked [`Topology`]. Pure: what is on the machine is not looked
//! at, so a namespace or a bridge that the file does not declare may still exist.

mod link;
mod route;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt,
};

use ipnet::IpNet;
use thiserror::Error;

use super::{
    model::{self, At, Position},
    spec::{BridgeSpec, EndSpec, PairSpec, Place, Topology},
};
use crate::types::{Datapath, IfName, MacAddr, NetnsName, PairName};

/// One thing that is wrong in a file: where, what, and how to mend it, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}{what}", model::prefix(*.position))]
pub struct Mistake {
    /// Where, if known.
    pub position: Option<Position>,
    /// What is wrong and what to write instead.
    pub what: String,
}

/// Checks a file.
///
/// # Errors
/// All mistakes at once, in the order of the file.
pub fn validate(file: &model::File) -> Result<Topology, Vec<Mistake>> {
    let mut checker = Checker::default();
    let topology = Topology {
        namespaces: file.namespaces.iter().filter_map(|netns| checker.namespace(netns)).collect(),
        bridges: file.bridges.iter().filter_map(|bridge| checker.bridge(bridge)).collect(),
        pairs: file.pairs.iter().filter_map(|pair| checker.pair(pair)).collect(),
    };
    checker.no_end_serves_as_bridge();
    checker.finish(topology)
}

/// What a link is, to those that refer to it by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Bridge,
    End,
}

/// An end's wish to be a port of a bridge.
struct Port {
    place: Place,
    bridge: IfName,
    who: String,
    position: Option<Position>,
}

/// Collects mistakes, and remembers what may be there only once.
#[derive(Default)]
struct Checker {
    mistakes: Vec<Mistake>,
    namespaces: HashSet<NetnsName>,
    pairs: HashSet<PairName>,
    links: HashMap<(Place, IfName), (Role, String)>,
    macs: HashMap<MacAddr, String>,
    routes: HashMap<(Place, IpNet, u32), String>,
    ports: Vec<Port>,
}

impl Checker {
    fn mistake(&mut self, position: Option<Position>, who: &str, what: impl fmt::Display) {
        self.mistakes.push(Mistake { position, what: format!("{who}: {what}") });
    }

    /// The value, or `None` and a mistake.
    fn noted<T, E: fmt::Display>(
        &mut self,
        position: Option<Position>,
        who: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|what| self.mistake(position, who, what)).ok()
    }

    fn finish(mut self, topology: Topology) -> Result<Topology, Vec<Mistake>> {
        if self.mistakes.is_empty() {
            return Ok(topology);
        }
        self.mistakes.sort_by_key(|mistake| mistake.position);
        Err(self.mistakes)
    }

    fn namespace(&mut self, netns: &model::Namespace) -> Option<NetnsName> {
        let who = format!("namespace {:?}", netns.name.value);
        let name = self.noted(netns.name.position, &who, netns.name.value.parse::<NetnsName>())?;
        if !self.namespaces.insert(name.clone()) {
            self.mistake(netns.name.position, &who, "is declared twice; leave one out");
        }
        Some(name)
    }

    fn bridge(&mut self, bridge: &model::Bridge) -> Option<BridgeSpec> {
        let who = format!("bridge {:?}", bridge.name.value);
        let place = self.place(&who, bridge.namespace.as_ref());
        let name = self.interface(&who, &bridge.name);
        let written = link::Written {
            addresses: &bridge.addresses,
            mtu: bridge.mtu.as_ref(),
            mac: bridge.mac.as_ref(),
            up: bridge.up.as_ref(),
        };
        let settings = self.settings(&who, &written);
        let (place, name) = (place?, name?);
        self.claim(&who, bridge.name.position, &place, &name, Role::Bridge);
        Some(BridgeSpec { place, name, settings })
    }

    fn pair(&mut self, pair: &model::Pair) -> Option<PairSpec> {
        let who = format!("pair {:?}", pair.name.value);
        let name = self.noted(pair.name.position, &who, pair.name.value.parse::<PairName>());
        if let Some(name) = &name
            && !self.pairs.insert(name.clone())
        {
            self.mistake(pair.name.position, &who, "is declared twice; give one another name");
        }
        let datapath = self.datapath(&who, pair);
        let ends: Vec<_> =
            pair.ends.iter().zip(1..).map(|(end, nth)| self.end(&who, nth, end)).collect();
        let ends = <[_; 2]>::try_from(ends)
            .map_err(|ends| format!("has {}; a pair has exactly two ends", count(ends.len())));
        let [first, second] = self.noted(pair.name.position, &who, ends)?;
        Some(PairSpec { name: name?, datapath, force: pair.force, ends: [first?, second?] })
    }

    fn datapath(&mut self, who: &str, pair: &model::Pair) -> Datapath {
        let Some(written) = &pair.datapath else { return Datapath::Observe };
        let word = written.value.as_str();
        let forwards =
            |end: &At<model::End>| end.value.namespace.is_none() || end.value.bridge.is_some();
        let what = match word {
            "observe" => return Datapath::Observe,
            "tc" if pair.ends.iter().any(forwards) => return Datapath::Tc,
            "xdp" if pair.ends.iter().any(forwards) => return Datapath::Xdp,
            "tc" | "xdp" => format!(
                "datapath: {word} needs an end where frames are forwarded; put one on a bridge or \
                 into the host's namespace, or use observe"
            ),
            _ => format!("datapath {word:?} is unknown; use observe, tc or xdp"),
        };
        self.mistake(written.position, who, what);
        Datapath::Observe
    }

    fn end(&mut self, pair: &str, nth: usize, end: &At<model::End>) -> Option<EndSpec> {
        let who = format!("{pair} end {nth}");
        let end = &end.value;
        let place = self.place(&who, end.namespace.as_ref());
        let interface = self.interface(&who, &end.interface);
        let written = link::Written {
            addresses: &end.addresses,
            mtu: end.mtu.as_ref(),
            mac: end.mac.as_ref(),
            up: end.up.as_ref(),
        };
        let settings = self.settings(&who, &written);
        let routes = self.routes(&who, place.as_ref(), end, &settings);
        let bridge = end.bridge.as_ref();
        let bridge = bridge.and_then(|bridge| self.port(&who, place.as_ref(), bridge));
        let (place, interface) = (place?, interface?);
        self.claim(&who, end.interface.position, &place, &interface, Role::End);
        Some(EndSpec { place, interface, settings, bridge, routes })
    }

    /// `None` is a mistake; `Some(None)` the host's namespace.
    fn place(&mut self, who: &str, namespace: Option<&At<String>>) -> Option<Place> {
        let Some(written) = namespace else { return Some(None) };
        self.noted(written.position, who, written.value.parse::<NetnsName>()).map(Some)
    }

    fn interface(&mut self, who: &str, name: &At<String>) -> Option<IfName> {
        self.noted(name.position, who, link::if_name(&name.value))
    }

    fn port(&mut self, who: &str, place: Option<&Place>, written: &At<String>) -> Option<IfName> {
        let bridge = self.interface(who, written)?;
        if let Some(place) = place {
            self.ports.push(Port {
                place: place.clone(),
                bridge: bridge.clone(),
                who: who.to_owned(),
                position: written.position,
            });
        }
        Some(bridge)
    }

    /// A name is free for one link of a namespace.
    fn claim(
        &mut self,
        who: &str,
        position: Option<Position>,
        place: &Place,
        name: &IfName,
        role: Role,
    ) {
        let taken = match self.links.entry((place.clone(), name.clone())) {
            Entry::Vacant(free) => {
                free.insert((role, who.to_owned()));
                return;
            }
            Entry::Occupied(taken) => taken.get().1.clone(),
        };
        let place = link::describe(place);
        let what =
            format!("interface {name} in {place} is also that of {taken}; choose another name");
        self.mistake(position, who, what);
    }

    fn no_end_serves_as_bridge(&mut self) {
        for port in std::mem::take(&mut self.ports) {
            let key = (port.place, port.bridge);
            if let Some((Role::End, owner)) = self.links.get(&key) {
                let what = format!("{} is {owner} and not a bridge; name a bridge", key.1);
                self.mistake(port.position, &port.who, what);
            }
        }
    }
}

fn count(ends: usize) -> String {
    match ends {
        0 => "no ends".to_owned(),
        1 => "one end".to_owned(),
        more => format!("{more} ends"),
    }
}
