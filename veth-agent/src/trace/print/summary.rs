//! A packet in the words of `tcpdump`, so far as these are known to everybody.

use std::{cell::RefCell, fmt, net::IpAddr};

use etherparse::IpNumber;

use super::super::decode::{
    Arp, Dns, Ethernet, Fault, Fragment, Icmp, Ip, Packet, Quoted, Tcp, TcpOptions, Transport, Udp,
};
use super::{super::decode, dns, names::Names};

/// Below this an EtherType is a length (IEEE 802.3).
const FIRST_ETHERTYPE: u16 = 0x600;

/// Bytes of an Ethernet header, and of a VLAN tag.
const ETHERNET: u32 = 14;
const TAG: u32 = 4;

/// What is shown of a packet.
pub struct Summary<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// Bytes of the frame.
    pub length: u32,
    /// Whether MACs and the options of TCP are shown.
    pub wide: bool,
    /// Names in place of numbers, where they are asked for.
    pub names: Option<&'a RefCell<Names>>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.packet;
        if let Some(ethernet) = &packet.ethernet {
            self.link(ethernet, f)?;
        }
        match (packet.arp(), packet.ip()) {
            (Some(what), _) => arp(what, self.payload(), f)?,
            (None, Some(ip)) => self.network(ip, f)?,
            (None, None) => self.other(f)?,
        }
        match packet.fault {
            Some(Fault::Cut(layer)) => write!(f, " [|{layer}]"),
            Some(Fault::Bad(layer)) => write!(f, " [bad {layer}]"),
            None => Ok(()),
        }
    }
}

impl Summary<'_> {
    fn link(&self, ethernet: &Ethernet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wide {
            write!(f, "{} > {}, ", ethernet.source, ethernet.destination)?;
        }
        for tag in &ethernet.vlan {
            write!(f, "vlan {}, ", tag.id)?;
            if tag.priority != 0 {
                write!(f, "p {}, ", tag.priority)?;
            }
        }
        Ok(())
    }

    /// Bytes behind the Ethernet header and its tags, padding included.
    fn payload(&self) -> u32 {
        let tags = self.packet.ethernet.iter().flat_map(|ethernet| &ethernet.vlan);
        self.length.saturating_sub(ETHERNET).saturating_sub(tags.map(|_| TAG).sum())
    }

    fn other(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet.ethernet.as_ref().map(|ethernet| ethernet.ethertype) {
            Some(0x0800) => f.write_str("IP")?,
            Some(0x86dd) => f.write_str("IP6")?,
            Some(0x0806) => f.write_str("ARP")?,
            Some(number @ FIRST_ETHERTYPE..) => write!(f, "ethertype {number:#06x}")?,
            Some(_) => f.write_str("802.3")?,
            None => f.write_str("Ethernet")?,
        }
        write!(f, ", length {}", self.length)
    }

    fn network(&self, ip: &Ip, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if ip.version == 4 { "IP " } else { "IP6 " })?;
        if ip.missing > 0 {
            let kind = if ip.version == 4 { "ip" } else { "ip6" };
            write!(f, "truncated-{kind} - {} bytes missing! ", ip.missing)?;
        }
        match &self.packet.transport {
            Some(Transport::Tcp(what)) => {
                self.tuple(ip, Some((what.source_port, what.destination_port)), f)?;
                tcp(what, self.wide, f)?;
            }
            Some(Transport::Udp(what)) => {
                self.tuple(ip, Some((what.source_port, what.destination_port)), f)?;
                udp(what, self.packet.dns.as_ref(), f)?;
            }
            Some(Transport::Icmp(what)) => {
                self.tuple(ip, None, f)?;
                icmp(what, f)?;
            }
            None => {
                self.tuple(ip, None, f)?;
                protocol(ip.protocol, f)?;
                write!(f, ", length {}", ip.payload)?;
            }
        }
        ip.fragment.map_or(Ok(()), |part| fragment(ip, part, f))
    }

    fn tuple(&self, ip: &Ip, ports: Option<(u16, u16)>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names {
            None => addresses((ip.source, ip.destination), ports, f)?,
            Some(names) => {
                let mut names = names.borrow_mut();
                named(&mut names, ip.source, ports.map(|(from, _)| from), ip.protocol, f)?;
                f.write_str(" > ")?;
                named(&mut names, ip.destination, ports.map(|(_, to)| to), ip.protocol, f)?;
            }
        }
        f.write_str(": ")
    }
}

fn named(
    names: &mut Names,
    address: IpAddr,
    port: Option<u16>,
    protocol: u8,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str(names.host(address))?;
    match port {
        Some(port) => write!(f, ".{}", names.service(port, protocol == decode::protocol::UDP)),
        None => Ok(()),
    }
}

fn arp(arp: &Arp, length: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Arp { operation, sender_mac, sender, target, .. } = arp;
    match operation {
        1 => write!(f, "ARP, Request who-has {target} tell {sender}")?,
        2 => write!(f, "ARP, Reply {sender} is-at {sender_mac}")?,
        _ => write!(f, "ARP, operation {operation}")?,
    }
    write!(f, ", length {length}")
}

/// Ports behind a dot, as `tcpdump` has them.
fn addresses(
    (source, destination): (IpAddr, IpAddr),
    ports: Option<(u16, u16)>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match ports {
        Some((from, to)) => write!(f, "{source}.{from} > {destination}.{to}"),
        None => write!(f, "{source} > {destination}"),
    }
}

fn protocol(number: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match IpNumber(number).keyword_str() {
        Some(name) => f.write_str(name),
        None => write!(f, "ip-proto-{number}"),
    }
}

/// Sequence numbers are those of the header: to count from a connection's first takes its first packet.
fn tcp(tcp: &Tcp, wide: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "Flags [{}]", tcp.flags)?;
    if tcp.length > 0 {
        write!(f, ", seq {}:{}", tcp.sequence, tcp.sequence.wrapping_add(tcp.length))?;
    } else if tcp.flags.control() {
        write!(f, ", seq {}", tcp.sequence)?;
    }
    if tcp.flags.ack() {
        write!(f, ", ack {}", tcp.acknowledgment)?;
    }
    write!(f, ", win {}", tcp.window)?;
    if wide && !tcp.options.is_empty() {
        tcp_options(&tcp.options, f)?;
    }
    write!(f, ", length {}", tcp.length)
}

fn tcp_options(options: &TcpOptions, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mss = options.mss.map(|mss| format!("mss {mss}"));
    let permitted = options.sack_permitted.then(|| "sackOK".to_owned());
    let blocks = options.sack.iter().map(|(begin, end)| format!("{{{begin}:{end}}}"));
    let sack = format!("sack {} {}", options.sack.len(), blocks.collect::<String>());
    let sack = (!options.sack.is_empty()).then_some(sack);
    let times = options.timestamps.map(|(own, echo)| format!("TS val {own} ecr {echo}"));
    let scale = options.window_scale.map(|scale| format!("wscale {scale}"));
    let all: Vec<_> =
        mss.into_iter().chain(permitted).chain(sack).chain(times).chain(scale).collect();
    write!(f, ", options [{}]", all.join(","))
}

fn udp(udp: &Udp, above: Option<&Dns>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match above {
        Some(message) => dns::write(message, f)?,
        None => return write!(f, "UDP, length {}", udp.length),
    }
    write!(f, " ({})", udp.length)
}

fn icmp(icmp: &Icmp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(if icmp.version == 4 { "ICMP " } else { "ICMP6, " })?;
    match icmp.name {
        Some(name) => f.write_str(name)?,
        None => write!(f, "type {} code {}", icmp.kind, icmp.code)?,
    }
    if let (Some(id), Some(sequence)) = (icmp.id, icmp.sequence) {
        write!(f, ", id {id}, seq {sequence}")?;
    }
    if let Some(target) = icmp.target {
        f.write_str(if icmp.kind == 135 { ", who has " } else { ", tgt is " })?;
        write!(f, "{target}")?;
    }
    if let Some(mac) = icmp.mac {
        write!(f, ", mac {mac}")?;
    }
    if let Some(mtu) = icmp.mtu {
        write!(f, ", mtu {mtu}")?;
    }
    if let Some(about) = &icmp.quoted {
        quoted(about, f)?;
    }
    write!(f, ", length {}", icmp.length)
}

fn quoted(quoted: &Quoted, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(", for ")?;
    protocol(quoted.protocol, f)?;
    f.write_str(" ")?;
    addresses((quoted.source, quoted.destination), quoted.ports, f)
}

/// As `tcpdump` used to: `(frag ID:LENGTH@OFFSET)`, with a plus where others follow.
fn fragment(ip: &Ip, part: Fragment, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Fragment { id, offset, more } = part;
    let plus = if more { "+" } else { "" };
    write!(f, " (frag {id}:{}@{offset}{plus})", ip.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{decode::decode, frames};

    fn summary(name: &str, wide: bool) -> Option<String> {
        let (_, frame) = frames::all().into_iter().find(|(it, _)| *it == name)?;
        let length = frame.len() as u32;
        Some(Summary { packet: &decode(&frame, length), length, wide, names: None }.to_string())
    }

    /// What `tcpdump -n -S -t` 4.99.3 prints of the same frames, to the letter.
    #[test]
    fn what_tcpdump_says() {
        let tcpdump = [
            ("arp-request", "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"),
            ("arp-padded", "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 46"),
            ("arp-reply", "ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:0a, length 28"),
            ("ping", "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64"),
            ("pong", "IP 10.0.0.1 > 10.0.0.2: ICMP echo reply, id 1, seq 2, length 64"),
            ("ping6", "IP6 fd00::1 > fd00::2: ICMP6, echo request, id 1, seq 2, length 64"),
            (
                "rst",
                "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [R.], seq 1000, ack 2000, win 512, length 0",
            ),
            ("no-flags", "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [none], win 512, length 0"),
            ("udp", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 13"),
            ("udp-empty", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 0"),
            ("udp6", "IP6 fd00::1.40000 > fd00::2.9: UDP, length 32"),
            ("jumbo", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 8958"),
            ("options", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 32"),
            (
                "total-length-more",
                "IP truncated-ip - 168 bytes missing! 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 4",
            ),
            ("query", "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ A? www.example.org. (33)"),
            ("query-aaaa", "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ AAAA? www.example.org. (33)"),
            ("query-root", "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ NS? . (17)"),
            (
                "query-edns",
                "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+% [1au] A? www.example.org. (44)",
            ),
            (
                "query-truncated",
                "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ [b2&3=0x300] A? www.example.org. (33)",
            ),
            ("query-chaos", "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ TXT CHAOS? version.bind. (30)"),
            ("notify", "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660 notify+ SOA? www.example.org. (33)"),
            (
                "update",
                "IP 10.0.0.1.40000 > 10.0.0.2.53: 4660 update [1a] [1n] SOA? www.example.org. (61)",
            ),
        ];
        for (name, expected) in tcpdump {
            assert_eq!(summary(name, false).as_deref(), Some(expected), "{name}");
        }
    }

    /// What `tcpdump` prints, and more behind it: what the payload is.
    #[test]
    fn what_tcpdump_begins_with() {
        let both = [
            (
                "data",
                "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [P.], seq 1000:1018, ack 2000, win 512, length 18",
            ),
            (
                "tcp6",
                "IP6 fd00::1.40000 > fd00::2.80: Flags [P.], seq 1000:1005, ack 2000, win 512, length 5",
            ),
            (
                "big",
                "IP6 fd00::1.40000 > fd00::2.80: Flags [.], seq 1000:9926, ack 2000, win 512, length 8926",
            ),
        ];
        for (name, expected) in both {
            assert_eq!(summary(name, false).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_we_say_otherwise() {
        let ours = [
            // With the MAC that is told, and what an error is about.
            (
                "solicit",
                "IP6 fd00::1 > fd00::2: ICMP6, neighbor solicitation, who has fd00::2, mac 02:00:00:00:00:0a, length 32",
            ),
            (
                "advertise",
                "IP6 fd00::1 > fd00::2: ICMP6, neighbor advertisement, tgt is fd00::2, mac 02:00:00:00:00:0b, length 32",
            ),
            (
                "port-unreachable",
                "IP 10.0.0.1 > 10.0.0.2: ICMP port unreachable, for UDP 10.0.0.1.40000 > 10.0.0.2.9, length 40",
            ),
            (
                "too-big",
                "IP 10.0.0.1 > 10.0.0.2: ICMP fragmentation needed, mtu 1400, for UDP 10.0.0.1.40000 > 10.0.0.2.9, length 40",
            ),
            (
                "too-big6",
                "IP6 fd00::1 > fd00::2: ICMP6, packet too big, mtu 1280, for UDP fd00::1.40000 > fd00::2.9, length 60",
            ),
            // tcpdump shows tags with -e only.
            (
                "qinq",
                "vlan 100, vlan 200, IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64",
            ),
            (
                "vlan-priority",
                "vlan 10, p 5, ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28",
            ),
            // The first fragment looks like the others.
            ("first-fragment", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 32 (frag 4660:40@0+)"),
            ("last-fragment", "IP 10.0.0.1 > 10.0.0.2: UDP, length 16 (frag 4660:16@40)"),
            ("last-fragment6", "IP6 fd00::1 > fd00::2: UDP, length 16 (frag 3735928559:16@40)"),
            // A response with the question.
            (
                "response",
                "IP 10.0.0.1.53 > 10.0.0.2.40000: 4660 A? www.example.org. 2/0/0 CNAME cdn.example.net., A 192.0.2.1 (78)",
            ),
            (
                "response-none",
                "IP 10.0.0.1.53 > 10.0.0.2.40000: 4660 NXDomain AAAA? www.example.org. 0/0/0 (33)",
            ),
            (
                "response-flags",
                "IP 10.0.0.1.53 > 10.0.0.2.40000: 4660*|$ A? www.example.org. 0/0/0 (33)",
            ),
            (
                "response-chaos",
                "IP 10.0.0.1.53 > 10.0.0.2.40000: 4660*- TXT CHAOS? version.bind. 1/0/0 CHAOS TXT (48)",
            ),
            (
                "update-refused",
                "IP 10.0.0.1.53 > 10.0.0.2.40000: 4660 update NotZone- SOA? www.example.org. 0/0/0 (33)",
            ),
            (
                "query-hostile",
                r"IP 10.0.0.1.40000 > 10.0.0.2.53: 4660+ ANY? \027]0;owned\007.a\.b\\.\013\010.\226\128\174gro. (43)",
            ),
            ("lldp", "ethertype 0x88cc, length 23"),
            ("llc", "802.3, length 22"),
        ];
        for (name, expected) in ours {
            assert_eq!(summary(name, false).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn faults_stand_behind_what_was_read() {
        let faults = [
            ("bad-header-length", "IP, length 46 [bad ip]"),
            ("bad-total-length", "IP, length 46 [bad ip]"),
            ("bad-udp-length", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 0 [bad udp]"),
            ("udp-length-more", "IP 10.0.0.1.40000 > 10.0.0.2.9: UDP, length 192 [bad udp]"),
            ("payload-length-zero", "IP6 fd00::1 > fd00::2: UDP, length 0 [bad udp]"),
            (
                "tcp-offset-more",
                "IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [.], ack 2000, win 512, length 0 [bad tcp]",
            ),
        ];
        for (name, expected) in faults {
            assert_eq!(summary(name, false).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_the_capture_cuts_off_is_said() {
        let (_, frame) = frames::all().swap_remove(3);
        let cut = |end: usize| {
            let length = frame.len() as u32;
            Summary { packet: &decode(&frame[..end], length), length, wide: false, names: None }
                .to_string()
        };
        assert_eq!(cut(0), "Ethernet, length 102 [|ether]");
        assert_eq!(cut(16), "ethertype 0x8100, length 102 [|vlan]");
        assert_eq!(cut(30), "vlan 10, IP, length 102 [|ip]");
        assert_eq!(cut(40), "vlan 10, IP 10.0.0.1 > 10.0.0.2: ICMP, length 64 [|icmp]");
        let whole = "vlan 10, IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 64";
        assert_eq!(cut(46), whole);
    }

    #[test]
    fn wide_tells_macs_and_options() {
        let syn = "02:00:00:00:00:0a > 02:00:00:00:00:0b, IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [S], seq 1000, \
                   win 512, options [mss 1460,sackOK,TS val 7 ecr 0,wscale 7], length 0";
        assert_eq!(summary("syn", true).as_deref(), Some(syn));
        let sack = "02:00:00:00:00:0a > 02:00:00:00:00:0b, IP 10.0.0.1.40000 > 10.0.0.2.80: Flags [.], ack 2000, \
                    win 512, options [sack 1 {3000:4000}], length 0";
        assert_eq!(summary("sack", true).as_deref(), Some(sack));
    }
}
