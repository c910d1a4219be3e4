//! What a decoded packet says of itself is possible.

use veth_agent::trace::{
    Sighting,
    decode::{Dns, Fault, Ip, Packet, Transport},
};

const ETHERNET: u32 = 14;
const TAG: u32 = 4;

/// Of a name of DNS: 255 bytes, each written as four at the most.
const LONGEST_NAME: usize = 4 * 255;

pub fn check(sighting: &Sighting<'_>, packet: &Packet) {
    let length = sighting.length.max(sighting.frame.len() as u32);
    assert_eq!(packet.ethernet.is_some(), sighting.frame.len() >= ETHERNET as usize);
    let Some(ethernet) = &packet.ethernet else {
        assert!(packet.network.is_none() && packet.fault.is_some());
        return;
    };
    let tags = ethernet.vlan.len() as u32;
    assert!(tags <= 4);
    assert!(ethernet.vlan.iter().all(|tag| tag.id < 4096 && tag.priority < 8));
    let link = ETHERNET + TAG * tags;
    if let Some(ip) = packet.ip() {
        network(ip, length.saturating_sub(link));
    }
    if let Some(above) = &packet.transport {
        transport(above, packet);
    }
    if let Some(dns) = &packet.dns {
        assert!(matches!(packet.transport, Some(Transport::Udp(_))), "no DNS without UDP");
        names(dns);
    }
    fault(sighting, packet);
}

fn network(ip: &Ip, length: u32) {
    assert!(ip.version == 4 && ip.source.is_ipv4() && ip.destination.is_ipv4() || ip.version == 6);
    assert!(ip.version == 6 && ip.source.is_ipv6() && ip.destination.is_ipv6() || ip.version == 4);
    assert_eq!(ip.missing, ip.length.saturating_sub(length), "what is promised and not there");
    let header = if ip.version == 4 { 20 } else { 40 };
    assert!(ip.payload + header <= ip.length, "{} of {}", ip.payload, ip.length);
    assert!(ip.extensions.len() <= 8);
    assert_eq!(ip.id.is_some(), ip.version == 4);
    if let Some(fragment) = ip.fragment {
        assert_eq!(fragment.offset % 8, 0);
        assert!(fragment.offset <= 0x1fff * 8);
    }
}

/// No layer is longer than the one that carries it. The header of a first fragment tells of all of them.
fn transport(above: &Transport, packet: &Packet) {
    let Some(ip) = packet.ip() else { unreachable!("nothing carries {above:?}") };
    assert!(ip.begins(), "only a first fragment has a header");
    let (least, length) = match above {
        Transport::Tcp(tcp) => (20, tcp.length),
        Transport::Udp(udp) if !ip.is_whole() => (8, udp.length.min(ip.payload - 8)),
        // That it promises more is shown, and called a fault.
        Transport::Udp(_) if packet.fault == Some(Fault::Bad("udp")) => (8, 0),
        Transport::Udp(udp) => (8, udp.length),
        Transport::Icmp(icmp) => (0, icmp.length),
    };
    assert!(length + least <= ip.payload, "{length} of {}", ip.payload);
}

fn names(dns: &Dns) {
    assert!(dns.questions.len() <= 4 && dns.answers.len() <= 4);
    assert!(dns.answers.len() <= dns.counts[0].into());
    let questions = dns.questions.iter().map(|question| &question.name);
    let answers = dns.answers.iter().map(|answer| &answer.name);
    for name in questions.chain(answers) {
        assert!(name.ends_with('.') && name.len() <= LONGEST_NAME, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
    }
}

/// Cut is only what does not end where the frame ends; more bytes would not mend the others.
fn fault(sighting: &Sighting<'_>, packet: &Packet) {
    let whole = sighting.frame.len() as u64 >= u64::from(sighting.length);
    let missing = packet.ip().map_or(0, |ip| ip.missing);
    if whole && missing == 0 {
        assert!(!matches!(packet.fault, Some(Fault::Cut(_))), "{packet:?}");
    }
}
