//! Lines for people: time, end, direction, and then what `tcpdump` would say.

use std::{
    cell::RefCell,
    fmt,
    io::{self, Write as _},
};

use super::{
    super::{Direction, Sighting, Verdict, decode::Packet},
    Clock,
    names::Names,
    outcome,
    summary::Summary,
};
use crate::escape::Escaped;

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
    names: Option<RefCell<Names>>,
    /// Width of the longest end's name so far.
    column: usize,
}

impl Text {
    /// Lines that tell as much as `detail`, with times of `clock`.
    #[must_use]
    pub const fn new(detail: Detail, colour: bool, clock: Clock) -> Self {
        Self { detail, colour, clock, names: None, column: 0 }
    }

    /// The same with names for addresses and ports.
    #[must_use]
    pub fn resolved(self) -> Self {
        Self { names: Some(RefCell::default()), ..self }
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
            let names = self.names.as_ref();
            write!(out, "{}", Summary { packet, length: sighting.length, wide, names })?;
            trailer(sighting, wide, out)?;
        } else if sighting.verdict == Some(Verdict::Redirect) {
            // That it passed goes without saying: there is a next line.
            out.extend(b" redirect");
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

#[cfg(test)]
mod tests {
    use super::{
        super::{Printer, sample},
        *,
    };
    use crate::trace::frames;

    fn ping() -> Vec<u8> {
        let ping = frames::icmp(8, 0, [0, 1, 0, 2], &[0; 56]);
        frames::ethernet(frames::IPV4, &frames::ipv4(frames::ICMP, &ping))
    }

    fn lines(detail: Detail, colour: bool, sightings: &[Sighting<'_>]) -> String {
        let text = Text::new(detail, colour, Clock::utc());
        String::from_utf8_lossy(&sample::printed(Printer::text(text), sightings)).into_owned()
    }

    #[test]
    fn a_line_tells_when_where_and_what() {
        let (end, ping) = (sample::end("tap1"), ping());
        let line = "22:13:20.000000007 orange/tap1 out IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64\n";
        assert_eq!(lines(Detail::Compact, false, &[sample::outgoing(&end, &ping)]), line);
    }

    #[test]
    fn a_drop_tells_why_first() {
        let (end, ping) = (sample::end("tap1"), ping());
        let line = lines(Detail::Compact, false, &[sample::dropped(Some(&end), &ping)]);
        let begin =
            "22:13:20.000000007 orange/tap1 #3 drop no_socket at udp_rcv+0x1f: IP 10.0.0.1 > ";
        assert!(line.starts_with(begin), "{line}");
        let nowhere = lines(Detail::Compact, false, &[sample::dropped(None, &[])]);
        let expected = "22:13:20.000000007 ? #3 drop no_socket at udp_rcv+0x1f: Ethernet, length 0 [bad ether]\n";
        assert_eq!(nowhere, expected);
    }

    #[test]
    fn what_passes_tells_so_last() {
        let (end, ping) = (sample::end("tap1"), ping());
        let passed = Sighting {
            verdict: Some(Verdict::Redirect),
            direction: Some(Direction::In),
            segments: 3,
            gso_size: Some(1448),
            ..sample::outgoing(&end, &ping)
        };
        let line = lines(Detail::Compact, false, std::slice::from_ref(&passed));
        assert!(line.ends_with(", length 64, 3 segments, redirect\n"), "{line}");
        assert!(line.contains(" orange/tap1 in  IP "), "{line}");
        let wide = lines(Detail::Wide, false, &[passed]);
        assert!(wide.ends_with(", length 64, 3 segments of 1448, redirect, ttl 64\n"), "{wide}");
    }

    #[test]
    fn a_later_hop_tells_only_what_is_out_of_the_ordinary() {
        let (end, ping) = (sample::end("tap1"), ping());
        let hop = |verdict| Sighting {
            packet_id: Some(3),
            since: Some(std::time::Duration::from_nanos(4807)),
            direction: Some(Direction::In),
            verdict: Some(verdict),
            ..sample::outgoing(&end, &ping)
        };
        let hops = [hop(Verdict::Redirect), hop(Verdict::Pass)];
        let expected = "         +4.807 us orange/tap1 in  #3 redirect\n\
                        \x20        +4.807 us orange/tap1 in  #3\n";
        assert_eq!(lines(Detail::Compact, false, &hops), expected);
        let wide = lines(Detail::Wide, false, &hops);
        assert_eq!(wide.matches("redirect").count(), 1, "{wide}");
    }

    #[test]
    fn wide_tells_where_the_packet_is_and_whose_it_is() {
        let (end, peer, process, ping) =
            (sample::end("tap1"), sample::end("tap2\u{202e}"), sample::process(), ping());
        let sighting = Sighting {
            peer: Some(&peer),
            mtu: Some(1500),
            mark: 0x1f,
            process: Some(&process),
            ..sample::outgoing(&end, &ping)
        };
        let line = lines(Detail::Wide, false, &[sighting]);
        let expected =
            ", ttl 64, mtu 1500, peer orange/tap2\\u{202e}, mark 0x1f, \\u{1b}[31mred\\n[42]\n";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let (short, long, ping) = (sample::end("a"), sample::end("tap1234567"), ping());
        let both = [sample::outgoing(&long, &ping), sample::outgoing(&short, &ping)];
        let text = lines(Detail::Compact, false, &both);
        let columns: Vec<_> = text.lines().map(|line| line.find(" out ")).collect();
        assert_eq!(columns, [Some(36), Some(36)], "{text}");
    }

    #[test]
    fn colours_are_ended() {
        let (end, ping) = (sample::end("tap1"), ping());
        let line = lines(Detail::Compact, true, &[sample::outgoing(&end, &ping)]);
        let begin = "\x1b[2m22:13:20.000000007\x1b[0m orange/tap1 \x1b[36mout\x1b[0m IP ";
        assert!(line.starts_with(begin), "{line}");
        let line = lines(Detail::Compact, true, &[sample::dropped(Some(&end), &ping)]);
        assert!(line.contains("\x1b[1;31mdrop no_socket at udp_rcv+0x1f\x1b[0m: IP "), "{line}");
    }
}
