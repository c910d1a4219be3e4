//! A sighting as an object of JSON.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::{
    super::{
        Direction, EndName, Process, Sighting, Verdict,
        decode::{Arp, Dns, Ethernet, Fault, Icmp, Ip, Packet, Tcp, Transport, Udp},
    },
    clock,
};
use crate::escape;

const SCHEMA_VERSION: u32 = 1;

/// Bytes of an Ethernet header that a packet did not have.
const MADE_UP: u32 = 14;

/// Keys in the order of the documentation; what a packet does not have is left out, but what only is not known
/// is null.
#[derive(Serialize)]
struct Line<'a> {
    schema_version: u32,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_previous_ns: Option<u64>,
    netns: Option<&'a str>,
    interface: Option<&'a str>,
    direction: Option<&'static str>,
    length: u32,
    segments: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gso_size: Option<u32>,
    verdict: Option<&'static str>,
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ethernet: Option<&'a Ethernet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a Ip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arp: Option<&'a Arp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<&'a Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp: Option<&'a Udp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp: Option<&'a Icmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<&'a Dns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    mark: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<End<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Sender<'a>>,
    pod: Option<()>,
}

#[derive(Serialize)]
struct End<'a> {
    netns: &'a str,
    interface: &'a str,
}

impl<'a> From<&'a EndName> for End<'a> {
    fn from(end: &'a EndName) -> Self {
        Self { netns: &end.netns, interface: &end.interface }
    }
}

#[derive(Serialize)]
struct Sender<'a> {
    pid: u32,
    name: &'a str,
}

impl<'a> From<&'a Process> for Sender<'a> {
    fn from(process: &'a Process) -> Self {
        Self { pid: process.pid, name: &process.name }
    }
}

/// Writes the object and a line feed.
pub fn line(sighting: &Sighting<'_>, packet: &Packet, out: &mut Vec<u8>) -> io::Result<()> {
    object(sighting, packet).serialize(&mut Serializer::with_formatter(&mut *out, Plain))?;
    out.push(b'\n');
    Ok(())
}

fn object<'a>(sighting: &'a Sighting<'a>, packet: &'a Packet) -> Line<'a> {
    let (tcp, udp, icmp) = match &packet.transport {
        Some(Transport::Tcp(tcp)) => (Some(tcp), None, None),
        Some(Transport::Udp(udp)) => (None, Some(udp), None),
        Some(Transport::Icmp(icmp)) => (None, None, Some(icmp)),
        None => (None, None, None),
    };
    Line {
        schema_version: SCHEMA_VERSION,
        time: clock::rfc3339(sighting.time),
        packet_id: sighting.packet_id,
        since_previous_ns: sighting.since.and_then(|since| u64::try_from(since.as_nanos()).ok()),
        netns: sighting.end.map(|end| &*end.netns),
        interface: sighting.end.map(|end| &*end.interface),
        direction: sighting.direction.map(direction),
        // Of the packet, not of a header that it did not have.
        length: sighting.length - if sighting.bare { MADE_UP.min(sighting.length) } else { 0 },
        segments: sighting.segments,
        gso_size: sighting.gso_size,
        verdict: sighting.verdict.map(verdict),
        reason: sighting.reason,
        place: sighting.place,
        ethernet: packet.ethernet.as_ref(),
        ip: packet.ip(),
        arp: packet.arp(),
        tcp,
        udp,
        icmp,
        dns: packet.dns.as_ref(),
        fault: packet.fault,
        mtu: sighting.mtu,
        mark: sighting.mark,
        peer: sighting.peer.map(End::from),
        process: sighting.process.map(Sender::from),
        pod: None,
    }
}

const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Redirect => "redirect",
        Verdict::Drop => "drop",
    }
}

/// JSON itself asks only for the first 32 characters to be escaped; terminals obey others, too.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| escape::is_unsafe(*c)) {
            let (plain, from) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Printer, sample},
        *,
    };
    use crate::trace::frames;

    fn lines(sightings: &[Sighting<'_>]) -> String {
        String::from_utf8_lossy(&sample::printed(Printer::json(), sightings)).into_owned()
    }

    fn line(sighting: Sighting<'_>) -> String {
        lines(&[sighting])
    }

    #[test]
    fn a_line_is_as_it_is_documented() {
        let end = sample::end("tap1");
        let frame = frames::ethernet(
            frames::IPV4,
            &frames::ipv4(frames::TCP, &frames::tcp(0x02, &[2, 4, 5, 0xb4], &[])),
        );
        let expected = concat!(
            r#"{"schema_version":1,"time":"2023-11-14T22:13:20.000000007Z","netns":"orange","interface":"tap1","#,
            r#""direction":"out","length":58,"segments":1,"verdict":null,"reason":null,"#,
            r#""ethernet":{"source":"02:00:00:00:00:0a","destination":"02:00:00:00:00:0b","ethertype":2048},"#,
            r#""ip":{"version":4,"source":"10.0.0.1","destination":"10.0.0.2","ttl":64,"tos":0,"protocol":6,"#,
            r#""length":44,"payload":24,"id":4660,"dont_fragment":true},"#,
            r#""tcp":{"source_port":40000,"destination_port":80,"flags":["syn"],"sequence":1000,"#,
            r#""acknowledgment":2000,"window":512,"length":0,"options":{"mss":1460}},"mark":0,"pod":null}"#,
            "\n"
        );
        assert_eq!(line(sample::outgoing(&end, &frame)), expected);
    }

    #[test]
    fn a_drop_where_no_end_is_to_be_made_out() {
        let expected = concat!(
            r#"{"schema_version":1,"time":"2023-11-14T22:13:20.000000007Z","packet_id":3,"netns":null,"#,
            r#""interface":null,"direction":null,"length":0,"segments":1,"verdict":"drop","reason":"no_socket","#,
            r#""place":"udp_rcv+0x1f","fault":{"kind":"bad","layer":"ether"},"mark":0,"pod":null}"#,
            "\n"
        );
        assert_eq!(line(sample::dropped(None, &[])), expected);
    }

    /// What never came to have an Ethernet header.
    #[test]
    fn a_header_that_is_made_up_is_not_told() {
        let ping = frames::icmp(8, 0, [0, 1, 0, 2], &[0; 56]);
        let frame = frames::ethernet(frames::IPV4, &frames::ipv4(frames::ICMP, &ping));
        let bare = Sighting { bare: true, ..sample::dropped(None, &frame) };
        let line = line(bare);
        assert!(line.contains(r#""length":84,"#) && !line.contains("ethernet"), "{line}");
        assert!(line.contains(r#""source":"10.0.0.1""#), "{line}");
    }

    #[test]
    fn names_come_back_as_they_were_and_do_nothing_to_a_terminal() {
        let name = "a\"\\\u{1b}[31m\n\u{9b}\u{202e}\u{61c}\u{2028}\u{e0041}ä";
        let end = sample::end(name);
        let line = line(sample::outgoing(&end, &[]));
        let spelled = r#""interface":"a\"\\\u001b[31m\n\u009b\u202e\u061c\u2028\udb40\udc41ä","#;
        assert!(line.contains(spelled), "{line}");
        let parsed = serde_json::from_str::<serde_json::Value>(&line).ok();
        assert_eq!(parsed.as_ref().and_then(|it| it["interface"].as_str()), Some(name));
    }

    #[test]
    fn each_packet_has_a_line() {
        let end = sample::end("tap1");
        let all = frames::all();
        let sightings: Vec<_> =
            all.iter().map(|(_, frame)| sample::outgoing(&end, frame)).collect();
        let text = lines(&sightings);
        assert_eq!(text.lines().count(), all.len());
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
    }
}
