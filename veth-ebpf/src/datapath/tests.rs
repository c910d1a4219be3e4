//! The decision, on packets made by hand.
#![expect(clippy::panic, reason = "this is how a test fails")]

extern crate std;

use std::vec::Vec;

use veth_common::fastpath::Fallback;

use super::{Rewrite, Verdict, decide};
use crate::{crafted::*, packet::Packet as _};

const TCP: u8 = 6;
const UDP: u8 = 17;
const BRIDGE: u32 = 7;

fn verdict(packet: &Crafted, known: &Known) -> Verdict {
    decide(packet, &SENDER, known)
}

#[track_caller]
fn falls_back(packet: &Crafted, known: &Known, reason: Fallback) {
    assert_eq!(verdict(packet, known), Verdict::Stack(reason));
}

/// A good packet of each kind, bridged and routed, with its tables.
fn good() -> Vec<(Crafted, Known)> {
    let mut good = Vec::new();
    for (bridge, to) in [(BRIDGE, BLUE), (0, RED_NEAR)] {
        for protocol in [TCP, UDP] {
            good.push((ipv4(to, protocol, 100), two_pairs(bridge)));
            good.push((ipv6(to, protocol, 100), two_pairs(bridge)));
        }
    }
    good
}

#[test]
fn what_is_bridged_goes_as_it_is() {
    let known = two_pairs(BRIDGE);
    for packet in [ipv4(BLUE, TCP, 20), ipv4(BLUE, UDP, 8), ipv6(BLUE, TCP, 20)] {
        let Verdict::Redirect { ifindex: 12, place: 2, rewrite } = verdict(&packet, &known) else {
            panic!("{:?}", verdict(&packet, &known));
        };
        assert_eq!(rewrite.bytes, 0);
    }
}

#[test]
fn what_is_routed_gets_new_macs_and_a_lower_hop_limit() {
    let known = two_pairs(0);
    let packet = ipv4(RED_NEAR, TCP, 20);
    let Verdict::Redirect { ifindex: 12, rewrite: Rewrite { head: new, bytes: 26 }, .. } =
        verdict(&packet, &known)
    else {
        panic!("{:?}", verdict(&packet, &known));
    };
    let mut wanted = packet.clone();
    wanted.bytes[..6].copy_from_slice(&BLUE);
    wanted.bytes[6..12].copy_from_slice(&BLUE_NEAR);
    wanted.bytes[22] = 63;
    mend_checksum(&mut wanted);
    assert_eq!(Some(new), wanted.head());

    let packet = ipv6(RED_NEAR, UDP, 8);
    let Verdict::Redirect { ifindex: 12, rewrite: Rewrite { head: new, bytes: 22 }, .. } =
        verdict(&packet, &known)
    else {
        panic!("{:?}", verdict(&packet, &known));
    };
    let mut wanted = packet.clone();
    wanted.bytes[..6].copy_from_slice(&BLUE);
    wanted.bytes[6..12].copy_from_slice(&BLUE_NEAR);
    wanted.bytes[21] = 63;
    assert_eq!(Some(new), wanted.head());
}

#[test]
fn without_a_lease_all_is_the_stacks() {
    for (packet, mut known) in good() {
        known.leased = false;
        falls_back(&packet, &known, Fallback::Lease);
    }
}

#[test]
fn echoes_go_and_other_icmp_does_not() {
    let known = two_pairs(BRIDGE);
    for (kind, goes) in [(8, true), (0, true), (3, false), (5, false), (11, false)] {
        let mut packet = ipv4(BLUE, 1, 8);
        packet.bytes[34] = kind;
        assert_eq!(matches!(verdict(&packet, &known), Verdict::Redirect { .. }), goes, "{kind}");
    }
    for (kind, goes) in [(128, true), (129, true), (2, false), (135, false), (136, false)] {
        let mut packet = ipv6(BLUE, 58, 8);
        packet.bytes[54] = kind;
        assert_eq!(matches!(verdict(&packet, &known), Verdict::Redirect { .. }), goes, "{kind}");
    }
    // ICMP of one family within the other.
    falls_back(&ipv4(BLUE, 58, 8), &known, Fallback::Protocol);
    falls_back(&ipv6(BLUE, 1, 8), &known, Fallback::Protocol);
}

#[test]
fn other_protocols_and_extension_headers_are_the_stacks() {
    for (packet, known) in good() {
        for protocol in (0..=255).filter(|number| ![1, TCP, UDP, 58].contains(number)) {
            let mut packet = packet.clone();
            if packet.bytes[12] == 8 {
                packet.bytes[23] = protocol;
                mend_checksum(&mut packet);
            } else {
                packet.bytes[20] = protocol;
            }
            falls_back(&packet, &known, Fallback::Protocol);
        }
    }
}

#[test]
fn options_and_fragments_are_the_stacks() {
    for bridge in [BRIDGE, 0] {
        let known = two_pairs(bridge);
        let to = if bridge == 0 { RED_NEAR } else { BLUE };
        for words in 6..=15 {
            let mut packet = ipv4(to, TCP, 60);
            packet.bytes[14] = 0x40 | words;
            mend_checksum(&mut packet);
            falls_back(&packet, &known, Fallback::Options);
        }
        for (high, low) in [(0x20, 0), (0x20, 1), (0, 1), (0x1f, 0xff), (0x60, 0)] {
            let mut packet = ipv4(to, UDP, 60);
            packet.bytes[20..22].copy_from_slice(&[high, low]);
            mend_checksum(&mut packet);
            falls_back(&packet, &known, Fallback::Fragment);
        }
    }
}

#[test]
fn tags_arp_and_frames_for_many_are_the_stacks() {
    for (packet, known) in good() {
        let with = |change: &dyn Fn(&mut Crafted)| {
            let mut packet = packet.clone();
            change(&mut packet);
            packet
        };
        falls_back(&with(&|packet| packet.tagged = true), &known, Fallback::Vlan);
        for kind in [[0x81, 0x00], [0x88, 0xa8]] {
            let tagged = with(&|packet| packet.bytes[12..14].copy_from_slice(&kind));
            falls_back(&tagged, &known, Fallback::Vlan);
        }
        for kind in [[0x08, 0x06], [0x88, 0x47], [0, 46]] {
            let other = with(&|packet| packet.bytes[12..14].copy_from_slice(&kind));
            falls_back(&other, &known, Fallback::NotIp);
        }
        let many = with(&|packet| packet.bytes[..6].fill(0xff));
        falls_back(&many, &known, Fallback::Multicast);
        let many = with(&|packet| packet.bytes[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]));
        falls_back(&many, &known, Fallback::Multicast);
    }
}

#[test]
fn a_sender_is_who_it_says() {
    for (packet, known) in good() {
        let mut forged = packet.clone();
        forged.bytes[11] ^= 1;
        falls_back(&forged, &known, Fallback::Source);
        let (at, length) = if packet.bytes[12] == 8 { (26, 4) } else { (22, 16) };
        // Another pod's address, and nobody's.
        for last in [3, 99] {
            let mut forged = packet.clone();
            forged.bytes[at + length - 1] = last;
            if length == 4 {
                mend_checksum(&mut forged);
            }
            falls_back(&forged, &known, Fallback::Source);
        }
        let mut elsewhere = packet.clone();
        elsewhere.ifindex = 12;
        falls_back(&elsewhere, &known, Fallback::Source);
        // An entry of an earlier owner of the index.
        let mut old = known.clone();
        old.endpoints.values_mut().for_each(|endpoint| endpoint.generation += 1);
        falls_back(&packet, &old, Fallback::Source);
    }
}

#[test]
fn only_far_ends_of_the_same_segment_are_reached() {
    for (packet, known) in good() {
        let mut unknown = known.clone();
        unknown.endpoints.remove(&v4(BLUE_V4));
        unknown.endpoints.remove(&v6(BLUE_V6));
        falls_back(&packet, &unknown, Fallback::Destination);
        let mut elsewhere = known.clone();
        for address in [v4(BLUE_V4), v6(BLUE_V6)] {
            if let Some(blue) = elsewhere.endpoints.get_mut(&address) {
                blue.bridge += 1;
            }
        }
        falls_back(&packet, &elsewhere, Fallback::Destination);
        let mut mistaken = packet.clone();
        mistaken.bytes[5] ^= 0x40;
        falls_back(&mistaken, &known, Fallback::Mac);
    }
    // To the router's MAC on a bridge, and past the router where there is one.
    falls_back(&ipv4(RED_NEAR, TCP, 20), &two_pairs(BRIDGE), Fallback::Mac);
    falls_back(&ipv4(BLUE, TCP, 20), &two_pairs(0), Fallback::Mac);
}

#[test]
fn nothing_returns_to_where_it_comes_from() {
    for (mut packet, known) in good() {
        if packet.bytes[12] == 8 {
            packet.bytes[30..34].copy_from_slice(&RED_V4);
            mend_checksum(&mut packet);
        } else {
            packet.bytes[38..54].copy_from_slice(&RED_V6);
        }
        falls_back(&packet, &known, Fallback::Hairpin);
    }
}

#[test]
fn hop_limits_end_at_a_router_and_not_on_a_bridge() {
    for (packet, known) in good() {
        let routed = known.endpoints[&v4(RED_V4)].bridge == 0;
        for (hops, goes) in [(0, !routed), (1, !routed), (2, true), (255, true)] {
            let mut packet = packet.clone();
            if packet.bytes[12] == 8 {
                packet.bytes[22] = hops;
                mend_checksum(&mut packet);
            } else {
                packet.bytes[21] = hops;
            }
            match verdict(&packet, &known) {
                Verdict::Redirect { .. } => assert!(goes, "{hops}"),
                Verdict::Stack(reason) => {
                    assert!(!goes && reason == Fallback::HopLimit, "{hops}: {reason:?}");
                }
            }
        }
    }
}

#[test]
fn lengths_and_checksums_that_contradict_a_packet_make_it_the_stacks() {
    for (packet, known) in good() {
        let mut wrong = Vec::new();
        let mut padded = packet.clone();
        padded.bytes.push(0);
        wrong.push(padded);
        let mut cut = packet.clone();
        cut.bytes.pop();
        wrong.push(cut);
        if packet.bytes[12] == 8 {
            let mut damaged = packet.clone();
            damaged.bytes[24] ^= 1;
            wrong.push(damaged);
        }
        for packet in wrong {
            falls_back(&packet, &known, Fallback::Malformed);
        }
    }
}

#[test]
fn the_target_gets_nothing_larger_than_it_takes() {
    // Blue takes 1,400 bytes.
    for (bridge, to) in [(BRIDGE, BLUE), (0, RED_NEAR)] {
        let known = two_pairs(bridge);
        for protocol in [TCP, UDP] {
            let goes =
                |packet: &Crafted| matches!(verdict(packet, &known), Verdict::Redirect { .. });
            assert!(goes(&ipv4(to, protocol, 1380)));
            falls_back(&ipv4(to, protocol, 1381), &known, Fallback::Oversize);
            assert!(goes(&ipv6(to, protocol, 1360)));
            falls_back(&ipv6(to, protocol, 1361), &known, Fallback::Oversize);
        }
    }
}

#[test]
fn of_a_gso_packet_the_segments_are_measured() {
    let known = two_pairs(BRIDGE);
    let gso = |mut packet: Crafted, transport: u8, size: u32| {
        let at = if packet.bytes[12] == 8 { 46 } else { 66 };
        packet.bytes[at] = transport << 4;
        packet.gso_size = size;
        packet.segments = 20;
        packet
    };
    let goes = |packet: &Crafted| matches!(verdict(packet, &known), Verdict::Redirect { .. });
    // 20 of IP and 32 of TCP with time stamps.
    assert!(goes(&gso(ipv4(BLUE, TCP, 20_000), 8, 1348)));
    falls_back(&gso(ipv4(BLUE, TCP, 20_000), 8, 1349), &known, Fallback::Oversize);
    assert!(goes(&gso(ipv6(BLUE, TCP, 20_000), 8, 1328)));
    falls_back(&gso(ipv6(BLUE, TCP, 20_000), 8, 1329), &known, Fallback::Oversize);
    assert!(goes(&gso(ipv4(BLUE, UDP, 20_000), 0, 1372)));
    falls_back(&gso(ipv4(BLUE, UDP, 20_000), 0, 1373), &known, Fallback::Oversize);
}

#[test]
fn a_device_that_is_gone_gets_nothing() {
    for (packet, known) in good() {
        let mut gone = known.clone();
        gone.devices.remove(&2);
        falls_back(&packet, &gone, Fallback::Gone);
        gone.devices.insert(2, 99);
        falls_back(&packet, &gone, Fallback::Gone);
    }
}

#[test]
fn pairs_of_different_kinds_talk_through_the_stack() {
    for (packet, known) in good() {
        let mixed = Known { other_mode: Some(2), ..known };
        falls_back(&packet, &mixed, Fallback::Destination);
    }
}

#[test]
fn a_packet_cut_short_anywhere_is_the_stacks() {
    for (packet, known) in good() {
        for length in 0..packet.bytes.len() {
            let mut cut = packet.clone();
            cut.bytes.truncate(length);
            falls_back(&cut, &known, Fallback::Malformed);
        }
    }
}
