//! What is read from the beginning of a frame is what is read from the whole, only less.

use veth_agent::trace::{
    Sighting,
    decode::{Ethernet, Icmp, Ip, Packet, Tcp, TcpOptions, Transport, decode},
};

pub fn check(sighting: &Sighting<'_>, whole: &Packet, cut: u8) {
    let end = sighting.frame.len() * usize::from(cut) / 255;
    let length = sighting.length.max(sighting.frame.len() as u32);
    let part = decode(&sighting.frame[..end], length);
    if let (Some(part), Some(whole)) = (&part.ethernet, &whole.ethernet) {
        ethernet(part, whole);
    }
    assert!(part.arp().is_none() || part.arp() == whole.arp());
    if let (Some(part), Some(whole)) = (part.ip(), whole.ip()) {
        network(part, whole);
    }
    match (&part.transport, &whole.transport) {
        (None, _) => {}
        (Some(Transport::Tcp(part)), Some(Transport::Tcp(whole))) => {
            assert_eq!(without_options(part), without_options(whole));
        }
        (Some(Transport::Icmp(part)), Some(Transport::Icmp(whole))) => {
            assert_eq!(header(part), header(whole));
        }
        (part, whole) => assert_eq!(part, whole),
    }
    if let (Some(part), Some(whole)) = (&part.dns, &whole.dns) {
        assert!(whole.questions.starts_with(&part.questions), "{part:?} of {whole:?}");
        assert!(whole.answers.starts_with(&part.answers), "{part:?} of {whole:?}");
    }
}

fn ethernet(part: &Ethernet, whole: &Ethernet) {
    assert_eq!((part.source, part.destination), (whole.source, whole.destination));
    assert!(whole.vlan.starts_with(&part.vlan));
}

/// Of the extension headers, some may be lost.
fn network(part: &Ip, whole: &Ip) {
    assert_eq!((part.source, part.destination), (whole.source, whole.destination));
    assert_eq!((part.length, part.missing), (whole.length, whole.missing));
    assert!(whole.extensions.starts_with(&part.extensions));
    if part.extensions == whole.extensions {
        assert_eq!(part, whole);
    }
}

fn without_options(tcp: &Tcp) -> Tcp {
    Tcp { options: TcpOptions::default(), ..tcp.clone() }
}

/// What a message has beyond its first bytes may be lost.
fn header(icmp: &Icmp) -> Icmp {
    let Icmp { version, kind, code, name, length, id, sequence, .. } = icmp.clone();
    Icmp { version, kind, code, name, length, id, sequence, ..Icmp::default() }
}
