//! Packets from hook to hook: the kernel keeps a packet at one address while it travels through a node.

mod signature;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use veth_common::trace::kind;

use self::signature::Signature;
use super::Verdict;
use crate::{collect::Captured, types::EndId};

/// When nothing more has been seen of a packet for so long, it has arrived, or is where nobody looks.
const QUIET: Duration = Duration::from_millis(100);

/// The ends, as far as following takes them.
#[derive(Clone, Debug, Default)]
pub struct Cables {
    /// The other end of each.
    pub peers: BTreeMap<EndId, EndId>,
    /// Ends whose leaving packets are looked at.
    pub seen_leaving: BTreeSet<EndId>,
}

/// Where a packet was seen: the end, and one of [`kind`].
type Place = (EndId, u32);

/// A packet at one of its hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What was seen.
    pub captured: Captured,
    /// Since the hop before.
    pub since: Option<Duration>,
    /// What became of it there, as far as a later hop tells.
    pub verdict: Option<Verdict>,
}

/// A packet and its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Which packet of this trace, from 1.
    pub packet: u64,
    /// Its hops, in order.
    pub hops: Vec<Hop>,
}

/// Packets that are still on their way.
#[derive(Debug, Default)]
pub struct Follower {
    cables: Cables,
    last: u64,
    underway: HashMap<u64, Packet>,
    arrived: Vec<Packet>,
}

#[derive(Debug)]
struct Packet {
    number: u64,
    signature: Signature,
    seen: Vec<Captured>,
}

impl Follower {
    /// Follows packets along these cables.
    #[must_use]
    pub fn new(cables: Cables) -> Self {
        Self { cables, ..Self::default() }
    }

    /// Takes what comes next. Order is that of the times.
    pub fn add(&mut self, captured: Captured) {
        let address = captured.event.packet;
        let ends = captured.event.kind == kind::DROP;
        match self.underway.get_mut(&address).filter(|packet| packet.goes_on(&captured)) {
            Some(packet) => packet.seen.push(captured),
            None => {
                self.last += 1;
                let signature = Signature::of(&captured.frame);
                let packet = Packet { number: self.last, signature, seen: vec![captured] };
                // The kernel has given the place to another packet.
                self.arrived.extend(self.underway.insert(address, packet));
            }
        }
        if ends {
            self.arrived.extend(self.underway.remove(&address));
        }
    }

    /// The packets that have come to an end by `now` (`CLOCK_MONOTONIC`).
    pub fn arrived(&mut self, now: Duration) -> Vec<Way> {
        let quiet = |packet: &Packet| packet.last_seen() + QUIET <= now;
        let ended = self.underway.extract_if(|_, packet| quiet(packet)).map(|(_, packet)| packet);
        self.arrived.extend(ended);
        self.take()
    }

    /// All that are left.
    pub fn finish(&mut self) -> Vec<Way> {
        self.arrived.extend(self.underway.drain().map(|(_, packet)| packet));
        self.take()
    }

    fn take(&mut self) -> Vec<Way> {
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.sort_by_key(|packet| packet.number);
        arrived.into_iter().map(|packet| self.cables.way(packet)).collect()
    }
}

impl Packet {
    /// Whether this can be the same packet a hop further: nobody sees one at a hook twice.
    fn goes_on(&self, next: &Captured) -> bool {
        let next_place = place(next);
        self.signature.fits(&Signature::of(&next.frame))
            && time(next).saturating_sub(self.last_seen()) <= QUIET
            && self.seen.iter().all(|seen| place(seen) != next_place)
    }

    fn last_seen(&self) -> Duration {
        self.seen.last().map(time).unwrap_or_default()
    }
}

impl Cables {
    fn way(&self, packet: Packet) -> Way {
        let places: Vec<Place> = packet.seen.iter().map(place).collect();
        let times: Vec<Duration> = packet.seen.iter().map(time).collect();
        let hop = |(at, captured): (usize, Captured)| Hop {
            captured,
            since: at.checked_sub(1).map(|before| times[at].saturating_sub(times[before])),
            verdict: self.verdict(places[at], places.get(at + 1).copied()),
        };
        let hops = packet.seen.into_iter().enumerate().map(hop).collect();
        Way { packet: packet.number, hops }
    }

    /// What a later hop tells of an earlier one. A packet that comes in at one end, and then at the far end of
    /// a cable, without having left by the near one, was redirected: where nobody looks at the near one, nobody knows.
    fn verdict(&self, (_, kind): Place, next: Option<Place>) -> Option<Verdict> {
        if kind == kind::DROP {
            return Some(Verdict::Drop);
        }
        let (next_end, next_kind) = next?;
        if (kind, next_kind) != (kind::IN, kind::IN) {
            return Some(Verdict::Pass);
        }
        let near = self.peers.get(&next_end)?;
        self.seen_leaving.contains(near).then_some(Verdict::Redirect)
    }
}

fn place(captured: &Captured) -> Place {
    (captured.end(), captured.event.kind)
}

const fn time(captured: &Captured) -> Duration {
    Duration::from_nanos(captured.event.time)
}

#[cfg(test)]
mod tests;
