//! Packets from hook to hook: the kernel keeps a packet at one address while it travels through a node.

mod arrived;
mod signature;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use veth_common::trace::kind;

pub use self::arrived::Order;
use self::{arrived::Arrived, signature::Signature};
use super::Verdict;
use crate::{collect::Captured, types::EndId};

/// When nothing more has been seen of a packet for so long, it has arrived, or is where nobody looks.
const QUIET: Duration = Duration::from_millis(100);

/// So many bytes are kept, as many as all rings take together. Beyond, the packet that the others wait for counts
/// as arrived.
const MOST: usize = 64 << 20;

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
    /// Which packet of this trace, from 1, in the order in which they were first seen.
    pub packet: u64,
    /// What was seen.
    pub captured: Captured,
    /// Since the hop before.
    pub since: Option<Duration>,
    /// What became of it there, as far as a later hop tells.
    pub verdict: Option<Verdict>,
}

/// Packets that are still on their way, and those that wait for them: order is kept.
#[derive(Debug)]
pub struct Follower {
    cables: Cables,
    /// Number of the last packet.
    last: u64,
    /// Their numbers follow each other.
    packets: VecDeque<Packet>,
    /// Numbers of those that are still on their way, by address.
    underway: HashMap<u64, u64>,
    arrived: Arrived,
    /// Bytes of what has not come out.
    kept: usize,
    most: usize,
}

#[derive(Debug)]
struct Packet {
    number: u64,
    address: u64,
    signature: Signature,
    seen: Vec<Captured>,
    has_arrived: bool,
}

impl Follower {
    /// Follows packets along these cables, and tells of their hops in this order.
    #[must_use]
    pub fn new(cables: Cables, order: Order) -> Self {
        Self {
            cables,
            last: 0,
            packets: VecDeque::new(),
            underway: HashMap::new(),
            arrived: Arrived::new(order),
            kept: 0,
            most: MOST,
        }
    }

    /// Takes what comes next. Order is that of the times.
    pub fn add(&mut self, captured: Captured) {
        let address = captured.event.packet;
        let ends = captured.event.kind == kind::DROP;
        self.kept += weight(&captured);
        match self.at(address).filter(|packet| packet.goes_on(&captured)) {
            Some(packet) => packet.seen.push(captured),
            None => {
                // The kernel has given the place to another packet.
                self.end(address);
                self.begin(captured);
            }
        }
        if ends {
            self.end(address);
        }
    }

    /// The hops of packets that have come to an end by `now` (`CLOCK_MONOTONIC`), and wait for no earlier one.
    pub fn arrived(&mut self, now: Duration) -> Vec<Hop> {
        let mut hops = Vec::new();
        while self.packets.front().is_some_and(|first| {
            first.has_arrived || first.last_seen() + QUIET <= now || self.kept > self.most
        }) {
            self.take_first(&mut hops);
        }
        hops
    }

    /// All that are left.
    pub fn finish(&mut self) -> Vec<Hop> {
        let mut hops = Vec::new();
        while !self.packets.is_empty() {
            self.take_first(&mut hops);
        }
        hops
    }

    /// The packet that was last seen there.
    fn at(&mut self, address: u64) -> Option<&mut Packet> {
        let number = *self.underway.get(&address)?;
        let index = number.checked_sub(self.packets.front()?.number)?;
        self.packets.get_mut(usize::try_from(index).ok()?)
    }

    fn begin(&mut self, captured: Captured) {
        self.last += 1;
        let address = captured.event.packet;
        self.underway.insert(address, self.last);
        self.packets.push_back(Packet {
            number: self.last,
            address,
            signature: Signature::of(&captured.frame),
            seen: vec![captured],
            has_arrived: false,
        });
    }

    fn end(&mut self, address: u64) {
        if let Some(packet) = self.at(address) {
            packet.has_arrived = true;
            self.underway.remove(&address);
        }
    }

    /// Takes the first packet, and the hops that have waited for nothing else.
    fn take_first(&mut self, hops: &mut Vec<Hop>) {
        let Some(packet) = self.packets.pop_front() else { return };
        if self.underway.get(&packet.address) == Some(&packet.number) {
            self.underway.remove(&packet.address);
        }
        self.arrived.add(self.cables.hops(packet));
        let first = self.packets.front().map(Packet::first_seen);
        for hop in self.arrived.until(first) {
            self.kept -= weight(&hop.captured);
            hops.push(hop);
        }
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

    fn first_seen(&self) -> Duration {
        self.seen.first().map(time).unwrap_or_default()
    }

    fn last_seen(&self) -> Duration {
        self.seen.last().map(time).unwrap_or_default()
    }
}

impl Cables {
    fn hops(&self, packet: Packet) -> impl Iterator<Item = Hop> {
        let Packet { number, seen, .. } = packet;
        let places: Vec<Place> = seen.iter().map(place).collect();
        let times: Vec<Duration> = seen.iter().map(time).collect();
        seen.into_iter().enumerate().map(move |(at, captured)| Hop {
            packet: number,
            captured,
            since: at.checked_sub(1).map(|before| times[at].saturating_sub(times[before])),
            verdict: self.verdict(places[at], places.get(at + 1).copied()),
        })
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

const fn weight(captured: &Captured) -> usize {
    size_of::<Captured>() + captured.frame.len()
}

#[cfg(test)]
mod tests;
