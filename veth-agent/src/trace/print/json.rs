//! A sighting as an object of JSON.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::{
    super::{
        Direction, EndName, Process, Sighting, Verdict,
        decode::{Arp, Dns, Ethernet, Fault, Icmp, Ip, Packet, Tcp, Transport, Udp},
    },
    clock, escape,
};

const SCHEMA_VERSION: u32 = 1;

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
        length: sighting.length,
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
            // All of them are below U+10000, so one group of four digits tells each.
            write!(writer, "\\u{:04x}", u32::from(c))?;
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}
