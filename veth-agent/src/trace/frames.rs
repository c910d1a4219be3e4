//! Frames for tests, laid out as the RFCs draw them; checksums, which nothing here looks at, are zero.
//!
//! The fuzzer begins with them, too: `fuzz/src/lib.rs` includes this file, which therefore needs nothing but
//! `std`.

/// Who sends: `02:00:00:00:00:0a`, `10.0.0.1`, `fd00::1`.
pub const SENDER: ([u8; 6], [u8; 4], [u8; 16]) =
    ([2, 0, 0, 0, 0, 0xa], [10, 0, 0, 1], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// For whom it is: `02:00:00:00:00:0b`, `10.0.0.2`, `fd00::2`.
pub const RECEIVER: ([u8; 6], [u8; 4], [u8; 16]) =
    ([2, 0, 0, 0, 0, 0xb], [10, 0, 0, 2], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// EtherTypes.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;

/// Protocols above IP, and extension headers of IPv6.
pub const HOP_BY_HOP: u8 = 0;
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const ICMPV6: u8 = 58;
pub const DESTINATION: u8 = 60;

/// Classes of DNS.
pub const IN: u16 = 1;
pub const CHAOS: u16 = 3;
pub const ANY: u16 = 255;

/// Ethernet II.
pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    tagged(&[], ethertype, payload)
}

/// Ethernet with VLAN tags: their EtherType, and priority and id.
pub fn tagged(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [RECEIVER.0, SENDER.0].concat();
    for (kind, control) in tags {
        frame.extend(kind.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// ARP of IPv4 over Ethernet (RFC 826).
pub fn arp(operation: u16) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    packet.extend(SENDER.0);
    packet.extend(SENDER.1);
    packet.extend(if operation == 1 { [0; 6] } else { RECEIVER.0 });
    packet.extend(RECEIVER.1);
    packet
}

/// IPv4 that may not be fragmented (RFC 791).
pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(&[], 0x4000, protocol, payload)
}

/// IPv4 with options, a multiple of four bytes, and with the 16 bits of flags and fragment offset.
pub fn ipv4_with(options: &[u8], fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + payload.len()) as u16).to_be_bytes());
    packet.extend(0x1234_u16.to_be_bytes());
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(SENDER.1);
    packet.extend(RECEIVER.1);
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// IPv6 (RFC 8200); a length that its field cannot tell is zero there.
pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap_or(0).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(SENDER.2);
    packet.extend(RECEIVER.2);
    packet.extend(payload);
    packet
}

/// An extension header of IPv6 with `data`, which is 6 bytes or a multiple of 8 bytes more.
pub fn extension(next: u8, data: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[next, (data.len() / 8) as u8], data, payload].concat()
}

/// The fragment header of IPv6: the 16 bits of offset and flags.
pub fn fragment(next: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    [&[next, 0], &place.to_be_bytes()[..], &[0xde, 0xad, 0xbe, 0xef], payload].concat()
}

/// UDP (RFC 768).
pub fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let words = [ports.0, ports.1, (8 + payload.len()) as u16, 0].map(u16::to_be_bytes);
    [words.as_flattened(), payload].concat()
}

/// TCP (RFC 9293) from port 40000 to 80 with sequence number 1000, and 2000 acknowledged. Options are a multiple
/// of four bytes.
pub fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = [40000_u16, 80].map(u16::to_be_bytes).concat();
    segment.extend([1000_u32, 2000].map(u32::to_be_bytes).concat());
    segment.extend([((20 + options.len()) / 4 * 16) as u8, flags]);
    segment.extend([512_u16, 0, 0].map(u16::to_be_bytes).concat());
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// What a client offers: MSS, SACK, time stamps, window scale, in the order of Linux.
pub const TCP_OFFER: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];

/// A block beyond the acknowledgement: 3000 to 4000.
pub const TCP_SACK: [u8; 12] = [1, 1, 5, 10, 0, 0, 0x0b, 0xb8, 0, 0, 0x0f, 0xa0];

/// ICMP or ICMPv6: type, code, checksum, and four bytes that depend on the type.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0], &rest[..], payload].concat()
}

/// A DNS message (RFC 1035) with identifier 0x1234.
pub fn dns(flags: u16, counts: [u16; 4], records: &[u8]) -> Vec<u8> {
    let mut message = 0x1234_u16.to_be_bytes().to_vec();
    message.extend(flags.to_be_bytes());
    message.extend(counts.map(u16::to_be_bytes).concat());
    message.extend(records);
    message
}

/// Labels, and the empty one that ends a name.
pub fn name(labels: &[&[u8]]) -> Vec<u8> {
    let labels = labels.iter().flat_map(|label| [&[label.len() as u8], *label].concat());
    labels.chain([0]).collect()
}

/// A question of class IN.
pub fn question(labels: &[&[u8]], kind: u16) -> Vec<u8> {
    question_of(IN, labels, kind)
}

/// A question of a class.
pub fn question_of(class: u16, labels: &[&[u8]], kind: u16) -> Vec<u8> {
    [name(labels), [kind, class].map(u16::to_be_bytes).concat()].concat()
}

/// An answer of class IN about the first name of the message, good for a minute.
pub fn answer(kind: u16, data: &[u8]) -> Vec<u8> {
    answer_of(IN, kind, data)
}

/// An answer of a class.
pub fn answer_of(class: u16, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = vec![0xc0, 12];
    record.extend([kind, class].map(u16::to_be_bytes).concat());
    record.extend([0, 0, 0, 60]);
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

/// A query of one name.
pub fn query(labels: &[&[u8]], kind: u16) -> Vec<u8> {
    udp((40000, 53), &dns(0x0100, [1, 0, 0, 0], &question(labels, kind)))
}

/// One frame of each kind.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    [link_and_arp(), over_ipv4(), over_ipv6(), names(), flags(), damaged()].concat()
}

fn link_and_arp() -> Vec<(&'static str, Vec<u8>)> {
    let ping = ipv4(ICMP, &icmp(8, 0, [0, 1, 0, 2], &[0x55; 56]));
    vec![
        ("arp-request", ethernet(ARP, &arp(1))),
        ("arp-reply", ethernet(ARP, &arp(2))),
        ("arp-padded", ethernet(ARP, &[arp(1), vec![0; 18]].concat())),
        ("vlan", tagged(&[(0x8100, 10)], IPV4, &ping)),
        ("vlan-priority", tagged(&[(0x8100, 0xa00a)], ARP, &arp(1))),
        ("qinq", tagged(&[(0x88a8, 100), (0x8100, 200)], IPV4, &ping)),
        ("tags", tagged(&[(0x8100, 1); 6], IPV4, &ping)),
        ("lldp", ethernet(0x88cc, &[2, 7, 4, 2, 0, 0, 0, 0, 0xa])),
        ("llc", ethernet(38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0])),
    ]
}

fn over_ipv4() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let lost = ipv4(UDP, &udp((40000, 9), b"lost"));
    let wide = udp((40000, 9), &[0xaa; 32]);
    let options = [7, 7, 4, 0, 0, 0, 0, 1];
    vec![
        ("ping", v4(ICMP, &icmp(8, 0, [0, 1, 0, 2], &[0x55; 56]))),
        ("pong", v4(ICMP, &icmp(0, 0, [0, 1, 0, 2], &[0x55; 56]))),
        ("port-unreachable", v4(ICMP, &icmp(3, 3, [0; 4], &lost))),
        ("too-big", v4(ICMP, &icmp(3, 4, [0, 0, 0x05, 0x78], &lost))),
        ("redirect", v4(ICMP, &icmp(5, 1, RECEIVER.1, &lost))),
        ("syn", v4(TCP, &tcp(0x02, &TCP_OFFER, &[]))),
        ("syn-ack", v4(TCP, &tcp(0x12, &TCP_OFFER, &[]))),
        ("data", v4(TCP, &tcp(0x18, &[], b"GET / HTTP/1.1\r\n\r\n"))),
        ("sack", v4(TCP, &tcp(0x10, &TCP_SACK, &[]))),
        ("odd-options", v4(TCP, &tcp(0x10, &[254, 4, 0xf9, 0x89, 2, 4, 5, 0xb4], &[]))),
        ("no-flags", v4(TCP, &tcp(0, &[], &[]))),
        ("rst", v4(TCP, &tcp(0x14, &[], &[]))),
        ("udp", v4(UDP, &udp((40000, 9), b"discard\x1b[31m\n"))),
        ("udp-empty", v4(UDP, &udp((40000, 9), &[]))),
        ("jumbo", v4(UDP, &udp((40000, 9), &[0xaa; 8958]))),
        ("gre", v4(47, &[0; 16])),
        ("ah", v4(AUTHENTICATION, &[&[UDP, 4], &[0; 22][..], &wide].concat())),
        ("options", ethernet(IPV4, &ipv4_with(&options, 0, UDP, &wide))),
        ("first-fragment", ethernet(IPV4, &ipv4_with(&[], 0x2000, UDP, &wide))),
        ("last-fragment", ethernet(IPV4, &ipv4_with(&[], 5, UDP, &[0xaa; 16]))),
    ]
}

fn over_ipv6() -> Vec<(&'static str, Vec<u8>)> {
    let v6 = |next, payload: &[u8]| ethernet(IPV6, &ipv6(next, payload));
    let lost = ipv6(UDP, &udp((40000, 9), b"lost"));
    let wide = udp((40000, 9), &[0xaa; 32]);
    let own = [&[1, 1], &SENDER.0[..]].concat();
    let theirs = [&[2, 1], &RECEIVER.0[..]].concat();
    let link_mtu = [5, 1, 0, 0, 0, 0, 5, 0xdc];
    let advertised = [&[0; 8], &own[..], &link_mtu].concat();
    let syn = tcp(0x02, &TCP_OFFER, &[]);
    let to_host = extension(TCP, &[1, 4, 0, 0, 0, 0], &syn);
    let chain = extension(ROUTING, &[5, 2, 0, 0, 1, 0], &extension(DESTINATION, &[0; 6], &to_host));
    vec![
        ("ping6", v6(ICMPV6, &icmp(128, 0, [0, 1, 0, 2], &[0x55; 56]))),
        ("solicit", v6(ICMPV6, &icmp(135, 0, [0; 4], &[&RECEIVER.2[..], &own].concat()))),
        (
            "advertise",
            v6(ICMPV6, &icmp(136, 0, [0x60, 0, 0, 0], &[&RECEIVER.2[..], &theirs].concat())),
        ),
        ("router", v6(ICMPV6, &icmp(134, 0, [64, 0, 7, 8], &advertised))),
        ("solicit-router", v6(ICMPV6, &icmp(133, 0, [0; 4], &own))),
        ("redirect6", v6(ICMPV6, &icmp(137, 0, [0; 4], &[RECEIVER.2, SENDER.2].concat()))),
        ("too-big6", v6(ICMPV6, &icmp(2, 0, 1280_u32.to_be_bytes(), &lost))),
        ("unreachable6", v6(ICMPV6, &icmp(1, 4, [0; 4], &lost))),
        ("tcp6", v6(TCP, &tcp(0x18, &[], b"hello"))),
        ("udp6", v6(UDP, &wide)),
        ("extensions", v6(HOP_BY_HOP, &chain)),
        ("many-extensions", v6(DESTINATION, &[DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(12))),
        ("first-fragment6", v6(FRAGMENT, &fragment(UDP, 1, &wide))),
        ("last-fragment6", v6(FRAGMENT, &fragment(UDP, 40, &[0xaa; 16]))),
        ("atomic-fragment6", v6(FRAGMENT, &fragment(UDP, 0, &wide))),
        ("no-next-header", v6(59, &[])),
        ("big", v6(TCP, &tcp(0x10, &[], &[0x42; 9000 - 74]))),
    ]
}

fn names() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = |payload: &[u8]| ethernet(IPV4, &ipv4(UDP, payload));
    let asked: &[&[u8]] = &[b"www", b"example", b"org"];
    let hostile: &[&[u8]] = &[b"\x1b]0;owned\x07", b"a.b\\", b"\r\n", "\u{202e}gro".as_bytes()];
    let alias = name(&[b"cdn", b"example", b"net"]);
    let answers = [question(asked, 1), answer(5, &alias), answer(1, &[192, 0, 2, 1])].concat();
    let nothing = dns(0x8183, [1, 0, 0, 0], &question(asked, 28));
    let reverse = [question(asked, 12), answer(12, &name(hostile))].concat();
    let turning = [&[0xc0, 12][..], &[0, 1, 0, 1]].concat();
    let longest = [[b'x'; 63].as_slice(); 4];
    vec![
        ("query", v4(&query(asked, 1))),
        ("query-aaaa", v4(&query(asked, 28))),
        ("query-root", v4(&query(&[], 2))),
        ("query-hostile", v4(&query(hostile, 255))),
        ("query-long", v4(&query(&longest[..3], 65280))),
        ("query-too-long", v4(&query(&longest, 16))),
        ("query-endless", v4(&udp((40000, 53), &dns(0x0100, [1, 0, 0, 0], &turning)))),
        ("query-promises", v4(&udp((40000, 53), &dns(0x0100, [u16::MAX; 4], &question(asked, 1))))),
        ("response", v4(&udp((53, 40000), &dns(0x8180, [1, 2, 0, 0], &answers)))),
        ("response-none", v4(&udp((53, 40000), &nothing))),
        ("response-hostile", v4(&udp((53, 40000), &dns(0x8180, [1, 1, 0, 0], &reverse)))),
    ]
}

/// Messages of DNS that are no plain questions and answers.
fn flags() -> Vec<(&'static str, Vec<u8>)> {
    let over = |ports, message: &[u8]| ethernet(IPV4, &ipv4(UDP, &udp(ports, message)));
    let query = |flags, counts, records: &[Vec<u8>]| {
        over((40000, 53), &dns(flags, counts, &records.concat()))
    };
    let response = |flags, counts, records: &[Vec<u8>]| {
        over((53, 40000), &dns(flags, counts, &records.concat()))
    };
    let asked = |kind| question(&[b"www", b"example", b"org"], kind);
    let version = || question_of(CHAOS, &[b"version", b"bind"], 16);
    let edns = [&[0, 0, 41, 4, 0xd0][..], &[0; 6]].concat();
    let (condition, added) = (answer_of(ANY, 255, &[]), answer(1, &[192, 0, 2, 1]));
    vec![
        ("query-edns", query(0x0130, [1, 0, 0, 1], &[asked(1), edns])),
        ("query-truncated", query(0x0300, [1, 0, 0, 0], &[asked(1)])),
        ("query-chaos", query(0x0100, [1, 0, 0, 0], &[version()])),
        ("notify", query(0x2100, [1, 0, 0, 0], &[asked(6)])),
        ("update", query(0x2800, [1, 1, 1, 0], &[asked(6), condition, added])),
        ("update-refused", response(0xa80a, [1, 0, 0, 0], &[asked(6)])),
        ("response-flags", response(0x87a0, [1, 0, 0, 0], &[asked(1)])),
        (
            "response-chaos",
            response(0x8500, [1, 1, 0, 0], &[version(), answer_of(CHAOS, 16, b"\x05hello")]),
        ),
    ]
}

/// What contradicts itself.
fn damaged() -> Vec<(&'static str, Vec<u8>)> {
    let with = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        frame
    };
    let udp4 = ethernet(IPV4, &ipv4(UDP, &udp((40000, 9), b"four")));
    let udp6 = ethernet(IPV6, &ipv6(UDP, &udp((40000, 9), b"four")));
    let tcp4 = ethernet(IPV4, &ipv4(TCP, &tcp(0x10, &[], b"four")));
    vec![
        ("bad-version", with(&udp4, 14, 0x55)),
        ("bad-header-length", with(&udp4, 14, 0x44)),
        ("bad-total-length", with(&udp4, 17, 10)),
        ("total-length-zero", with(&udp4, 17, 0)),
        ("total-length-more", with(&udp4, 17, 200)),
        ("bad-udp-length", with(&udp4, 39, 7)),
        ("udp-length-more", with(&udp4, 39, 200)),
        ("udp-length-zero", with(&udp4, 39, 0)),
        ("payload-length-zero", with(&udp6, 19, 0)),
        ("payload-length-more", with(&udp6, 19, 200)),
        ("bad-tcp-offset", with(&tcp4, 46, 0x40)),
        ("tcp-offset-more", with(&tcp4, 46, 0xf0)),
        ("v6-as-v4", ethernet(IPV4, &ipv6(UDP, &udp((1, 2), b"four")))),
    ]
}
