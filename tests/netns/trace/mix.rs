//! Frames of every kind that filters tell apart, and many that are no good.

use veth_tests::frame;

const TO: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const V4: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];

/// How many damaged frames there are for each good one.
const DAMAGED: usize = 6;

/// Some of everything, the same each time.
pub fn frames() -> Vec<Vec<u8>> {
    let mut good = ethernet();
    good.extend(ipv4());
    good.extend(ipv6());
    good.extend(tagged(&good));
    let damaged = damaged(&good);
    good.into_iter().chain(damaged).collect()
}

fn on_wire(protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [TO.as_slice(), &FROM, &protocol.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn ethernet() -> Vec<Vec<u8>> {
    let arp = |operation: u8| {
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        on_wire(0x0806, &[head.as_slice(), &FROM, &V4[0], &[0; 6], &V4[1]].concat())
    };
    let spanning_tree = on_wire(38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]);
    let multicast = [&[1, 0, 0x5e, 0, 0, 1], &FROM[..], &[8, 0], &udp4(1, 2, 20)].concat();
    let mpls = on_wire(0x8847, &[0, 0, 0x11, 0x40, 0x45, 0, 0, 20]);
    let pppoe = on_wire(0x8864, &[0x11, 0, 0, 7, 0, 6, 0, 0x21, 0x45, 0, 0, 20]);
    let broadcast = frame(0x88b6, &[3; 60], 90);
    vec![
        arp(1),
        arp(2),
        spanning_tree,
        multicast,
        mpls,
        pppoe,
        broadcast,
        on_wire(0x1234, &[9; 500]),
    ]
}

/// A header with options of so many words, `fragment` as it stands there, and what follows.
fn ip4(protocol: u8, fragment: u16, words: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + 4 * usize::from(words) + payload.len()) as u16;
    let mut header = vec![0x45 + words, 0x10];
    header.extend(length.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([61, protocol, 0xab, 0xcd]);
    header.extend(V4.concat());
    header.extend(vec![1; 4 * usize::from(words)]);
    [header.as_slice(), payload].concat()
}

fn ports(from: u16, to: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d]
}

fn tcp(from: u16, to: u16, flags: u8, words: u8, data: &[u8]) -> Vec<u8> {
    let mut tcp = ports(from, to).to_vec();
    tcp.extend([0, 0, 0, 7, 0, 0, 0, 9, (5 + words) << 4, flags, 1, 0, 0xbe, 0xef, 0, 0]);
    tcp.extend(vec![1; 4 * usize::from(words)]);
    tcp.extend(data);
    tcp
}

fn udp(from: u16, to: u16, data: usize) -> Vec<u8> {
    let mut udp = ports(from, to).to_vec();
    udp.extend(((8 + data) as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(vec![0x55; data]);
    udp
}

fn udp4(from: u16, to: u16, data: usize) -> Vec<u8> {
    ip4(17, 0, 0, &udp(from, to, data))
}

fn ipv4() -> Vec<Vec<u8>> {
    let get = b"GET / HTTP/1.1\r\n\r\n";
    let mut packets = vec![
        ip4(1, 0, 0, &[8, 0, 1, 2, 0, 1, 0, 1]),
        ip4(1, 0, 0, &[0, 0, 1, 2, 0, 1, 0, 1]),
        ip4(1, 0, 0, &[[3, 4, 0, 0, 0, 0, 5, 0].as_slice(), &udp4(7, 9, 20)].concat()),
        ip4(132, 0, 0, &[ports(80, 9).as_slice(), &[0; 20]].concat()),
        ip4(47, 0, 0, &[0, 0, 8, 0, 0x45, 0, 0, 20]),
        ip4(2, 0, 1, &[0x16, 0, 0, 0, 224, 0, 0, 1]),
        // A first fragment, one in the middle, the last.
        ip4(17, 0x2000, 0, &udp(53, 5000, 40)),
        ip4(17, 0x2005, 0, &[0, 80, 0, 80, 5, 5, 5, 5, 5, 5, 5, 5]),
        ip4(17, 0x000a, 0, &[0, 53, 0, 53, 7, 7, 7, 7, 7, 7, 7, 7]),
        ip4(6, 0x4000, 10, &tcp(443, 40000, 0x12, 5, &[])),
    ];
    for (from, to) in [(80, 4000), (4000, 80), (443, 4001), (8080, 22), (5000, 5010), (6000, 6999)]
    {
        for flags in [0x02, 0x11, 0x18, 0x04, 0x29] {
            packets.push(ip4(6, 0x4000, 0, &tcp(from, to, flags, flags & 3, get)));
        }
        for length in [0, 18, 100, 900, 1472] {
            packets.push(udp4(from, to, length));
        }
    }
    packets.push(udp4(4000, 53, 30));
    packets.push(ip4(17, 0, 15 - 5, &udp(4000, 67, 300)));
    packets.into_iter().map(|packet| on_wire(0x0800, &packet)).collect()
}

fn ip6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0x01, 0x23, 0x45];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 255]);
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(payload);
    packet
}

fn ipv6() -> Vec<Vec<u8>> {
    let hop = |next: u8| [next, 0, 5, 2, 0, 0, 1, 0];
    let fragment = |next: u8, at: u16| {
        let [high, low] = at.to_be_bytes();
        [next, 0, high, low, 0, 0, 0, 9]
    };
    let mut packets = vec![
        ip6(58, &[[135, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[7; 16]].concat()),
        ip6(58, &[128, 0, 1, 2, 0, 1, 0, 1]),
        ip6(58, &[[2, 0, 1, 2, 0, 0, 5, 0].as_slice(), &ip6(6, &tcp(1, 2, 3, 0, &[]))].concat()),
        ip6(0, &[hop(58).as_slice(), &[143, 0, 0, 0, 0, 0, 0, 0]].concat()),
        ip6(0, &[hop(6).as_slice(), &tcp(80, 81, 2, 0, &[])].concat()),
        ip6(44, &[fragment(17, 1).as_slice(), &udp(53, 53, 40)].concat()),
        ip6(44, &[fragment(17, 0x50).as_slice(), &[0, 80, 0, 80]].concat()),
        ip6(59, &[]),
    ];
    for (from, to) in [(80, 4000), (4000, 443), (5005, 53)] {
        packets.push(ip6(6, &tcp(from, to, 0x18, 3, b"GET / ")));
        packets.push(ip6(17, &udp(from, to, 200)));
    }
    packets.into_iter().map(|packet| on_wire(0x86dd, &packet)).collect()
}

/// The same behind a tag, and every third behind two.
fn tagged(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let tag = |(at, frame): (usize, &Vec<u8>)| {
        let id = [0, 5, 5, 100, 0xff][at % 5];
        let tag = [0x81, 0, (at as u8 & 7) << 5, id];
        let outer: &[u8] = if at % 3 == 0 { &[0x88, 0xa8, 0, 7] } else { &[] };
        [&frame[..12], outer, &tag, &frame[12..]].concat()
    };
    frames.iter().enumerate().step_by(2).map(tag).filter(|frame| frame.len() <= 1514).collect()
}

/// Cut off somewhere, or with wrong bytes in the headers.
fn damaged(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut all = Vec::new();
    for frame in frames {
        for _ in 0..DAMAGED {
            let mut frame = frame.clone();
            for _ in 0..next(4) {
                let at = 12 + next(frame.len().min(80) - 12);
                frame[at] = next(256) as u8;
            }
            if next(2) == 0 {
                frame.truncate(14 + next(frame.len() - 13));
            }
            all.push(frame);
        }
    }
    all
}
