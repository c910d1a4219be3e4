//! Pairs, named and in a stable order.

use std::cmp::Reverse;

use super::Snapshot;
use crate::{
    mark::PairMark,
    types::{Datapath, EndId},
};

/// Two ends of one cable, or the one that could be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name in its mark, else `INTERFACE@NETNS` of its first end.
    pub name: String,
    /// What `apply` wrote on it.
    pub mark: Option<PairMark>,
    /// The first end: the host's where there is one, else the first by interface name.
    pub first: EndId,
    /// The second, unless its namespace could not be seen.
    pub second: Option<EndId>,
}

/// Whether a pair carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairState {
    /// Both ends are administratively up and have a carrier.
    Up,
    /// At least one is not.
    Down,
    /// Only one end could be seen.
    HalfSeen,
}

impl PairState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::HalfSeen];

    /// The word in labels and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::HalfSeen => "half-seen",
        }
    }
}

impl Pair {
    /// Its ends, the first one first.
    pub fn ends(&self) -> impl Iterator<Item = EndId> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// How its packets travel.
    #[must_use]
    pub fn datapath(&self) -> Datapath {
        self.mark.as_ref().map_or(Datapath::Observe, |mark| mark.datapath)
    }
}

impl Snapshot {
    /// All pairs, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<_> = self
            .ends()
            .filter(|end| self.peer_of(*end).is_none_or(|peer| self.rank(*end) < self.rank(peer)))
            .map(|first| self.pair(first))
            .collect();
        pairs.sort_by(|one, other| (&one.name, one.first).cmp(&(&other.name, other.first)));
        pairs
    }

    /// All ends of pairs.
    pub fn ends(&self) -> impl Iterator<Item = EndId> {
        self.namespaces.values().flat_map(|netns| {
            let paired = netns.links.values().filter(|link| link.kind.is_paired());
            paired.map(|link| netns.end(link.index))
        })
    }

    /// Whether a pair carries packets.
    #[must_use]
    pub fn state(&self, pair: &Pair) -> PairState {
        let carries = |end| self.link(end).is_some_and(|link| link.admin_up && link.carrier);
        match pair.second {
            None => PairState::HalfSeen,
            Some(second) if carries(pair.first) && carries(second) => PairState::Up,
            Some(_) => PairState::Down,
        }
    }

    fn pair(&self, first: EndId) -> Pair {
        let second = self.peer_of(first);
        let mark = [Some(first), second]
            .into_iter()
            .flatten()
            .find_map(|end| PairMark::parse(self.link(end)?.alias.as_deref()?));
        let name = match &mark {
            Some(mark) => mark.pair.to_string(),
            None => self.end_name(first),
        };
        Pair { name, mark, first, second }
    }

    /// `INTERFACE@NETNS`.
    fn end_name(&self, end: EndId) -> String {
        let netns = self.namespaces.get(&end.netns).map(|netns| netns.label(self.host));
        let link = self.link(end).map(|link| link.name.as_str());
        format!("{}@{}", link.unwrap_or("?"), netns.unwrap_or_default())
    }

    fn rank(&self, end: EndId) -> (Reverse<bool>, Option<&str>, Option<&str>, EndId) {
        let netns = self.namespaces.get(&end.netns);
        let name = netns.and_then(|netns| netns.names.first().map(String::as_str));
        let link = self.link(end).map(|link| link.name.as_str());
        (Reverse(end.netns == self.host), link, name, end)
    }
}
