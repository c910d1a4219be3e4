//! Lines for people: time, end, direction, and then what `tcpdump` would say.

use std::{
    fmt,
    io::{self, Write as _},
};

use super::{
    super::{Direction, Sighting, Verdict, decode::Packet},
    Clock,
    escape::Escaped,
    outcome,
    summary::Summary,
};

/// How much a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What `tcpdump` tells.
    Compact,
    /// MACs, options, TTL, MTU, peer, mark and sender as well.
    Wide,
}

/// No end's name is padded to more than this.
const MAX_COLUMN: usize = 40;

/// Width of a time of day.
const TIME: usize = 18;

const DIM: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
const RESET: &str = "\x1b[0m";

/// Writes lines whose columns stand below each other.
#[derive(Debug)]
pub struct Text {
    detail: Detail,
    colour: bool,
    clock: Clock,
    /// Width of the longest end's name so far.
    column: usize,
}

impl Text {
    /// Lines that tell as much as `detail`, with times of `clock`.
    #[must_use]
    pub const fn new(detail: Detail, colour: bool, clock: Clock) -> Self {
        Self { detail, colour, clock, column: 0 }
    }

    /// Makes room for names of ends that are known before the first packet.
    pub fn expect(&mut self, end: &super::super::EndName) {
        self.widen(&Escaped(&end.to_string()).to_string());
    }

    fn widen(&mut self, name: &str) {
        self.column = self.column.max(name.chars().count()).min(MAX_COLUMN);
    }

    pub(super) fn line(
        &mut self,
        sighting: &Sighting<'_>,
        packet: &Packet,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let end = sighting.end.map_or_else(|| "?".to_owned(), ToString::to_string);
        let end = Escaped(&end).to_string();
        self.widen(&end);
        let time = self.time(sighting);
        let width = self.column;
        write!(out, "{} {end:width$}", self.paint(DIM, time))?;
        let dropped = self.event(sighting, out)?;
        let wide = self.detail == Detail::Wide;
        // What the packet is has been said at its first hop.
        if wide || sighting.since.is_none() {
            out.extend(if dropped { b": ".as_slice() } else { b" " });
            write!(out, "{}", Summary { packet, length: sighting.length, wide })?;
            trailer(sighting, wide, out)?;
        }
        if wide {
            context(sighting, packet, out)?;
        }
        out.push(b'\n');
        Ok(())
    }

    /// When, or how long after the hop before.
    fn time(&self, sighting: &Sighting<'_>) -> String {
        match sighting.since {
            None => self.clock.time_of_day(sighting.time).to_string(),
            Some(since) => {
                let micros = since.as_nanos() as f64 / 1000.0;
                format!("{:>TIME$}", format!("+{micros:.3} us"))
            }
        }
    }

    /// Direction, number, and above all whether it was dropped.
    fn event(&self, sighting: &Sighting<'_>, out: &mut Vec<u8>) -> io::Result<bool> {
        match sighting.direction {
            Some(Direction::In) => write!(out, " {}", self.paint(GREEN, "in "))?,
            Some(Direction::Out) => write!(out, " {}", self.paint(CYAN, "out"))?,
            None => {}
        }
        if let Some(id) = sighting.packet_id {
            write!(out, " #{id}")?;
        }
        let drop = outcome(sighting).filter(|_| sighting.verdict == Some(Verdict::Drop));
        if let Some(drop) = &drop {
            write!(out, " {}", self.paint(RED, drop))?;
        }
        Ok(drop.is_some())
    }

    fn paint(&self, colour: &'static str, text: impl fmt::Display) -> impl fmt::Display {
        let (begin, end) = if self.colour { (colour, RESET) } else { ("", "") };
        fmt::from_fn(move |f| write!(f, "{begin}{text}{end}"))
    }
}

/// What stands behind the packet: segments, and a verdict that is no drop.
fn trailer(sighting: &Sighting<'_>, wide: bool, out: &mut Vec<u8>) -> io::Result<()> {
    if sighting.segments > 1 {
        write!(out, ", {} segments", sighting.segments)?;
        if let Some(size) = sighting.gso_size.filter(|_| wide) {
            write!(out, " of {size}")?;
        }
    }
    match outcome(sighting).filter(|_| sighting.verdict != Some(Verdict::Drop)) {
        Some(outcome) => write!(out, ", {outcome}"),
        None => Ok(()),
    }
}

/// Where the packet is and whose it is, as far as that is known.
fn context(sighting: &Sighting<'_>, packet: &Packet, out: &mut Vec<u8>) -> io::Result<()> {
    if let Some(ip) = packet.ip() {
        write!(out, ", ttl {}", ip.ttl)?;
    }
    if let Some(mtu) = sighting.mtu {
        write!(out, ", mtu {mtu}")?;
    }
    if let Some(peer) = sighting.peer {
        write!(out, ", peer {}", Escaped(&peer.to_string()))?;
    }
    if sighting.mark != 0 {
        write!(out, ", mark {:#x}", sighting.mark)?;
    }
    match sighting.process {
        Some(process) => write!(out, ", {}[{}]", Escaped(&process.name), process.pid),
        None => Ok(()),
    }
}
