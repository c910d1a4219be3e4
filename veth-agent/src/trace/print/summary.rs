//! A packet in the words of `tcpdump`, so far as these are known to everybody.

use std::{fmt, net::IpAddr};

use etherparse::IpNumber;

use super::super::decode::{
    Arp, Dns, Ethernet, Fault, Fragment, Icmp, Ip, Packet, Quoted, Tcp, TcpOptions, Transport, Udp,
};

/// Below this an EtherType is a length (IEEE 802.3).
const FIRST_ETHERTYPE: u16 = 0x600;

/// Bytes of an ARP of IPv4.
const ARP_LENGTH: u32 = 28;

/// What is shown of a packet.
pub struct Summary<'a> {
    /// The packet.
    pub packet: &'a Packet,
    /// Bytes of the frame.
    pub length: u32,
    /// Whether MACs and the options of TCP are shown.
    pub wide: bool,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet = self.packet;
        if let Some(ethernet) = &packet.ethernet {
            self.link(ethernet, f)?;
        }
        match (packet.arp(), packet.ip()) {
            (Some(what), _) => arp(what, f)?,
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
            write!(f, "truncated-ip - {} bytes missing! ", ip.missing)?;
        }
        match &self.packet.transport {
            Some(Transport::Tcp(what)) => {
                tuple(ip, Some((what.source_port, what.destination_port)), f)?;
                tcp(what, self.wide, f)?;
            }
            Some(Transport::Udp(what)) => {
                tuple(ip, Some((what.source_port, what.destination_port)), f)?;
                udp(what, self.packet.dns.as_ref(), f)?;
            }
            Some(Transport::Icmp(what)) => {
                tuple(ip, None, f)?;
                icmp(what, f)?;
            }
            None => {
                tuple(ip, None, f)?;
                protocol(ip.protocol, f)?;
                write!(f, ", length {}", ip.payload)?;
            }
        }
        ip.fragment.map_or(Ok(()), |part| fragment(ip, part, f))
    }
}

fn arp(arp: &Arp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Arp { operation, sender_mac, sender, target, .. } = arp;
    match operation {
        1 => write!(f, "ARP, Request who-has {target} tell {sender}")?,
        2 => write!(f, "ARP, Reply {sender} is-at {sender_mac}")?,
        _ => write!(f, "ARP, operation {operation}")?,
    }
    write!(f, ", length {ARP_LENGTH}")
}

fn tuple(ip: &Ip, ports: Option<(u16, u16)>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    addresses((ip.source, ip.destination), ports, f)?;
    f.write_str(": ")
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
    let sack = options.sack.iter().map(|(begin, end)| format!("sack {begin}:{end}"));
    let times = options.timestamps.map(|(own, echo)| format!("TS val {own} ecr {echo}"));
    let scale = options.window_scale.map(|scale| format!("wscale {scale}"));
    let all: Vec<_> =
        mss.into_iter().chain(permitted).chain(sack).chain(times).chain(scale).collect();
    write!(f, ", options [{}]", all.join(","))
}

fn udp(udp: &Udp, dns: Option<&Dns>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match dns {
        Some(dns) if dns.response => response(dns, f)?,
        Some(dns) => query(dns, f)?,
        None => return write!(f, "UDP, length {}", udp.length),
    }
    write!(f, " ({})", udp.length)
}

fn query(dns: &Dns, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}{}", dns.id, if dns.recursion_desired { "+" } else { "" })?;
    dns.questions.iter().try_for_each(|question| write!(f, " {}? {}", question.kind, question.name))
}

fn response(dns: &Dns, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [answers, authorities, additional] = dns.counts;
    write!(f, "{}", dns.id)?;
    match dns.rcode {
        0 => {}
        1 => f.write_str(" FormErr")?,
        2 => f.write_str(" ServFail")?,
        3 => f.write_str(" NXDomain")?,
        4 => f.write_str(" NotImp")?,
        5 => f.write_str(" Refused")?,
        code => write!(f, " Resp{code}")?,
    }
    // tcpdump leaves the question out; without it, an error says nothing.
    dns.questions.iter().try_for_each(|asked| write!(f, " {}? {}", asked.kind, asked.name))?;
    write!(f, " {answers}/{authorities}/{additional}")?;
    for (index, answer) in dns.answers.iter().enumerate() {
        f.write_str(if index == 0 { " " } else { ", " })?;
        match &answer.data {
            Some(data) => write!(f, "{} {data}", answer.kind)?,
            None => f.write_str(&answer.kind)?,
        }
    }
    Ok(())
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
