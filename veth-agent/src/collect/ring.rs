//! Events out of the rings of a trace, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use aya::maps::{MapData, MapError, RingBuf};
use rustix::time::{ClockId, clock_gettime};
use veth_common::trace::{Event, Seen, Source};

use crate::types::{EndId, IfIndex, NetnsCookie};

/// How much earlier than what has been read already an event may be that another CPU is just writing: from
/// taking the time to handing over, a program is not interrupted for longer by far.
const LAG: Duration = Duration::from_millis(2);

/// An event, and what it has of its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// What the program tells.
    pub event: Event,
    /// The first bytes of the frame.
    pub frame: Vec<u8>,
}

impl Captured {
    /// Where.
    #[must_use]
    pub const fn end(&self) -> EndId {
        let Event { netns_cookie, ifindex, .. } = self.event;
        EndId { netns: NetnsCookie(netns_cookie), ifindex: IfIndex(ifindex) }
    }
}

/// The rings of a trace.
pub struct Rings {
    rings: Vec<RingBuf<MapData>>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    read: u64,
    /// Records that are shorter than they say.
    malformed: u64,
}

impl Rings {
    /// Takes them.
    #[must_use]
    pub fn new(rings: Vec<RingBuf<MapData>>) -> Self {
        Self { rings, waiting: BinaryHeap::new(), read: 0, malformed: 0 }
    }

    /// Events that no earlier one can follow any more, in order.
    pub fn poll(&mut self) -> Vec<Captured> {
        let until = now().saturating_sub(LAG);
        self.read();
        self.take_until(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX))
    }

    /// All that is left, in order. Nothing writes any more.
    pub fn finish(&mut self) -> Vec<Captured> {
        self.read();
        self.take_until(u64::MAX)
    }

    /// Records that could not be understood. Another version's programs would be needed for one.
    #[must_use]
    pub const fn malformed(&self) -> u64 {
        self.malformed
    }

    fn read(&mut self) {
        for ring in &mut self.rings {
            while let Some(record) = ring.next() {
                match parse(&record) {
                    Some(captured) => {
                        self.read += 1;
                        let waiting = Waiting { order: self.read, captured };
                        self.waiting.push(Reverse(waiting));
                    }
                    None => self.malformed += 1,
                }
            }
        }
    }

    fn take_until(&mut self, time: u64) -> Vec<Captured> {
        let mut taken = Vec::new();
        while self.waiting.peek().is_some_and(|Reverse(next)| next.captured.event.time <= time) {
            taken.extend(self.waiting.pop().map(|Reverse(next)| next.captured));
        }
        taken
    }
}

/// An event that waits for earlier ones of other CPUs.
struct Waiting {
    /// In which it was read: that of its ring.
    order: u64,
    captured: Captured,
}

impl Waiting {
    const fn key(&self) -> (u64, u64) {
        (self.captured.event.time, self.order)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// `CLOCK_MONOTONIC`, as `bpf_ktime_get_ns` reads it.
#[must_use]
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn parse(record: &[u8]) -> Option<Captured> {
    let (event, frame) = record.split_at_checked(size_of::<Event>())?;
    let event = Event::from_bytes(event.try_into().ok()?);
    let frame = frame.get(..event.captured as usize)?.to_vec();
    Some(Captured { event, frame })
}

/// What all CPUs have counted, the hooks and the tracepoint together.
///
/// # Errors
/// When the map cannot be read.
pub fn seen(maps: &aya::maps::PerCpuArray<MapData, Seen>) -> Result<Seen, MapError> {
    let mut sum = Seen::default();
    for source in Source::ALL {
        for seen in maps.get(&(source as u32), 0)?.iter() {
            sum.seen += seen.seen;
            sum.matched += seen.matched;
            sum.lost += seen.lost;
        }
    }
    Ok(sum)
}
