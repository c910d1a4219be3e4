//! From an event to what people call it.

use std::time::Duration;

use veth_common::trace::{Event, kind};

use super::{Direction, Process, Session, Sighting, Verdict, clock_offset};
use crate::collect::{Captured, DropNames};

/// What following a packet tells of one of its hops; by default, nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Which packet.
    pub packet_id: Option<u64>,
    /// Since the hop before.
    pub since: Option<Duration>,
    /// What became of it there.
    pub verdict: Option<Verdict>,
}

/// Gives events their names.
#[derive(Debug)]
pub struct Describe {
    offset: Duration,
    names: Option<DropNames>,
}

impl Describe {
    /// As of now: the clock on the wall is read once, so that times keep their order.
    #[must_use]
    pub fn new(names: Option<DropNames>) -> Self {
        Self { offset: clock_offset(), names }
    }

    /// Calls `show` with what is known of an event, and of the `step` that it is of a packet's way.
    pub fn with<T>(
        &mut self,
        session: &Session,
        captured: &Captured,
        step: Step,
        show: impl FnOnce(&Sighting<'_>) -> T,
    ) -> T {
        let Captured { event, frame } = captured;
        let info = session.end(captured.end());
        let is_drop = event.kind == kind::DROP;
        let names = self.names.as_mut().filter(|_| is_drop);
        let drop = names.map(|names| names.name(event.reason, event.location));
        let process = process(event);
        show(&Sighting {
            time: self.offset + Duration::from_nanos(event.time),
            packet: event.packet,
            packet_id: step.packet_id,
            since: step.since,
            end: info.map(|info| &info.name),
            peer: info.and_then(|info| info.peer.as_ref()),
            direction: match event.kind {
                kind::IN => Some(Direction::In),
                kind::OUT => Some(Direction::Out),
                _ => None,
            },
            verdict: if is_drop { Some(Verdict::Drop) } else { step.verdict },
            reason: drop.as_ref().map(|drop| drop.reason.as_str()),
            place: drop.as_ref().and_then(|drop| drop.place.as_deref()),
            length: event.length,
            segments: event.segments,
            gso_size: (event.gso_size > 0).then_some(event.gso_size),
            mtu: info.map(|info| info.mtu),
            mark: event.mark,
            process: process.as_ref(),
            bare: event.bare != 0,
            frame,
        })
    }
}

fn process(event: &Event) -> Option<Process> {
    if event.pid == 0 {
        return None;
    }
    let comm: Vec<u8> = event.comm.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    Some(Process { pid: event.pid, name })
}
