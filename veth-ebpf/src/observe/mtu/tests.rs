extern crate std;

use std::{cell::RefCell, vec, vec::Vec};

use veth_common::{
    counters::Direction::{self, Rx, Tx},
    fastpath::Address,
    mtu::{
        Family::{Ipv4, Ipv6},
        Figure,
    },
};

use super::{Figures, exceeds, observe};
use crate::crafted::{BLUE, BLUE_V4, Crafted, RED_V4, RED_V6, ipv4, ipv6, v4, v6};

/// What was counted for an end whose namespace has these addresses.
struct Counted {
    own: Vec<Address>,
    seen: RefCell<Vec<Figure>>,
}

impl Figures for Counted {
    fn owns(&self, address: Address) -> bool {
        self.own.contains(&address)
    }
    fn count(&self, figure: Figure) {
        self.seen.borrow_mut().push(figure);
    }
}

/// What is counted of a packet in red's namespace, whether it lies in one piece or not.
fn seen(packet: &Crafted, direction: Direction, limit: u32) -> Vec<Figure> {
    let [linear, paged] = [false, true].map(|paged| {
        let counted = Counted { own: vec![v4(RED_V4), v6(RED_V6)], seen: RefCell::default() };
        observe(&Crafted { paged, ..packet.clone() }, direction, limit, &counted);
        counted.seen.into_inner()
    });
    assert_eq!(linear, paged);
    linear
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The same with a VLAN tag in the frame.
fn tagged(packet: &Crafted, tag: [u8; 4]) -> Crafted {
    let mut tagged = packet.clone();
    tagged.bytes.splice(12..12, tag);
    tagged
}

/// A GSO packet of several segments of `size` bytes, with so many words of TCP header.
fn gso(mut packet: Crafted, transport: usize, words: u8, size: u32) -> Crafted {
    packet.gso_size = size;
    packet.segments = 3;
    packet.bytes[transport + 12] = words << 4;
    packet
}

/// An ICMP error about a packet of red's, whose quotation begins with `quoted`.
fn error(packet: Crafted, at: usize, kind: [u8; 2], quoted: &[u8]) -> Crafted {
    let mut packet = packet;
    packet.bytes[at..at + 2].copy_from_slice(&kind);
    packet.bytes[at + 8..at + 8 + quoted.len()].copy_from_slice(quoted);
    packet
}

/// "Fragmentation needed" with no more than RFC 792 demands: a header and eight bytes.
fn needed(source: [u8; 4]) -> Crafted {
    let quoted = quoted_v4(source);
    error(ipv4(BLUE, 1, 8 + 28), 34, [3, 4], &quoted)
}

fn quoted_v4(source: [u8; 4]) -> Vec<u8> {
    let mut quoted = vec![0x45, 0, 5, 220, 0, 1, 0x40, 0, 64, 17, 0, 0];
    quoted.extend(source);
    quoted.extend(BLUE_V4);
    quoted
}

fn too_big(source: [u8; 16]) -> Crafted {
    let mut quoted = vec![0x60, 0, 0, 0, 5, 180, 17, 64];
    quoted.extend(source);
    error(ipv6(BLUE, 58, 8 + 48), 54, [2, 0], &quoted)
}

const NOTHING: [Figure; 0] = [];

#[test]
fn a_packet_is_oversize_above_the_limit_and_not_at_it() {
    for (packet, header) in [(ipv4(BLUE, UDP, 1380), 20), (ipv6(BLUE, TCP, 1360), 40)] {
        assert_eq!(packet.bytes.len(), 14 + 1400, "{header}");
        assert_eq!(seen(&packet, Tx, 1400), NOTHING);
        assert_eq!(seen(&packet, Tx, 1399), [Figure::Oversize(Tx)]);
        assert_eq!(seen(&packet, Rx, 1399), [Figure::Oversize(Rx)]);
        assert_eq!(seen(&packet, Rx, 0), NOTHING, "no limit");
    }
    // Whatever it is that the next hop does not take.
    let mut other = ipv4(BLUE, UDP, 1380);
    other.bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(seen(&other, Tx, 1399), [Figure::Oversize(Tx)]);
    assert!(!exceeds(14 + 1400, 0) && !exceeds(14 + 1400, 1400) && exceeds(14 + 1401, 1400));
}

#[test]
fn a_vlan_tag_does_not_count() {
    let packet = ipv4(BLUE, UDP, 1480);
    for tag in [[0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]] {
        assert_eq!(seen(&tagged(&packet, tag), Tx, 1500), NOTHING);
        assert_eq!(seen(&tagged(&packet, tag), Tx, 1499), [Figure::Oversize(Tx)]);
        // A second one is a matter of the packet.
        let twice = tagged(&tagged(&packet, [0x81, 0, 0, 6]), tag);
        assert_eq!(seen(&twice, Tx, 1500), [Figure::Oversize(Tx)]);
    }
    let beside = Crafted { tagged: true, ..packet };
    assert_eq!(seen(&beside, Tx, 1500), NOTHING);
    assert_eq!(seen(&beside, Tx, 1499), [Figure::Oversize(Tx)]);
}

#[test]
fn a_gso_packet_is_as_large_as_its_segments() {
    // Headers of 20 and 32, 40 and 32 bytes.
    for (packet, transport, headers) in
        [(ipv4(BLUE, TCP, 9000), 34, 52), (ipv6(BLUE, TCP, 9000), 54, 72)]
    {
        let packet = gso(packet, transport, 8, 1400);
        assert_eq!(seen(&packet, Tx, 1400 + headers), NOTHING);
        assert_eq!(seen(&packet, Tx, 1399 + headers), [Figure::Oversize(Tx)]);
        let tagged = tagged(&packet, [0x81, 0, 0, 5]);
        assert_eq!(seen(&tagged, Tx, 1400 + headers), NOTHING);
        assert_eq!(seen(&tagged, Tx, 1399 + headers), [Figure::Oversize(Tx)]);
    }
    // UDP has eight bytes, whatever stands in them.
    let packet = gso(ipv4(BLUE, UDP, 9000), 34, 15, 1472);
    assert_eq!(seen(&packet, Tx, 1500), NOTHING);
    assert_eq!(seen(&packet, Tx, 1499), [Figure::Oversize(Tx)]);
    // IPv4 options lie ahead of the transport header.
    let mut packet = gso(ipv4(BLUE, TCP, 9000), 34 + 8, 5, 1452);
    packet.bytes[14] = 0x47;
    assert_eq!(seen(&packet, Tx, 1500), NOTHING);
    assert_eq!(seen(&packet, Tx, 1499), [Figure::Oversize(Tx)]);
    // Of what is neither, nothing is known.
    let mut packet = gso(ipv4(BLUE, TCP, 9000), 34, 5, 8000);
    packet.bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    assert_eq!(seen(&packet, Tx, 1500), NOTHING);
}

#[test]
fn every_piece_is_a_fragment() {
    for (offset, piece) in
        [(0x2000_u16, true), (0x20b9, true), (0x00b9, true), (0x4000, false), (0, false)]
    {
        let mut packet = ipv4(BLUE, UDP, 100);
        packet.bytes[20..22].copy_from_slice(&offset.to_be_bytes());
        let wanted = if piece { vec![Figure::Fragment(Ipv4, Rx)] } else { vec![] };
        assert_eq!(seen(&packet, Rx, 1500), wanted, "{offset:#x}");
        assert_eq!(seen(&tagged(&packet, [0x81, 0, 0, 5]), Rx, 1500), wanted, "{offset:#x}");
    }
    assert_eq!(seen(&ipv6(BLUE, 44, 100), Tx, 1500), [Figure::Fragment(Ipv6, Tx)]);
    let both = [Figure::Oversize(Tx), Figure::Fragment(Ipv6, Tx)];
    assert_eq!(seen(&ipv6(BLUE, 44, 1400), Tx, 1400), both);
}

#[test]
fn an_error_reaches_whom_it_is_about() {
    for (own, other, family) in
        [(needed(RED_V4), needed(BLUE_V4), Ipv4), (too_big(RED_V6), too_big([0xfe; 16]), Ipv6)]
    {
        let error = Figure::Error;
        assert_eq!(seen(&own, Rx, 1500), [error(family, Rx), Figure::Reached(family)]);
        // On its way out it has not arrived, and about others it is others' business.
        assert_eq!(seen(&own, Tx, 1500), [error(family, Tx)]);
        assert_eq!(seen(&other, Rx, 1500), [error(family, Rx)]);
        let tagged = tagged(&own, [0x81, 0, 0, 5]);
        assert_eq!(seen(&tagged, Rx, 1500), [error(family, Rx), Figure::Reached(family)]);
    }
}

#[test]
fn what_an_error_quotes_may_be_a_fragment_or_have_options() {
    let mut inner = needed(RED_V4);
    inner.bytes[48..50].copy_from_slice(&0x2000_u16.to_be_bytes());
    inner.bytes[42] = 0x4f;
    assert_eq!(seen(&inner, Rx, 1500), [Figure::Error(Ipv4, Rx), Figure::Reached(Ipv4)]);
    // Options of the error itself.
    let mut outer = needed(RED_V4);
    outer.bytes.splice(34..34, [1; 12]);
    outer.bytes[14] = 0x48;
    assert_eq!(seen(&outer, Rx, 1500), [Figure::Error(Ipv4, Rx), Figure::Reached(Ipv4)]);
    // What looks like an error within a piece of something else is not one.
    let mut piece = needed(RED_V4);
    piece.bytes[21] = 7;
    assert_eq!(seen(&piece, Rx, 1500), [Figure::Fragment(Ipv4, Rx)]);
}

#[test]
fn an_error_about_an_error_is_judged_by_its_own_quotation() {
    // A quoted "fragmentation needed" about blue, sent by red.
    let mut nested = needed(RED_V4);
    nested.bytes[51] = 1;
    nested.bytes.extend([3, 4, 0, 0, 0, 0, 5, 120]);
    nested.bytes.extend(quoted_v4(BLUE_V4));
    assert_eq!(seen(&nested, Rx, 1500), [Figure::Error(Ipv4, Rx), Figure::Reached(Ipv4)]);
}

#[test]
fn other_icmp_is_nothing() {
    for kind in [[8, 0], [0, 0], [3, 0], [3, 1], [3, 3], [11, 4], [12, 4], [4, 3]] {
        let packet = error(needed(RED_V4), 34, kind, &quoted_v4(RED_V4));
        assert_eq!(seen(&packet, Rx, 1500), NOTHING, "{kind:?}");
    }
    for kind in [[1, 0], [3, 0], [128, 0], [129, 0], [135, 0]] {
        let mut packet = too_big(RED_V6);
        packet.bytes[54..56].copy_from_slice(&kind);
        assert_eq!(seen(&packet, Rx, 1500), NOTHING, "{kind:?}");
    }
    // Each family has its own ICMP.
    let mut wrong = needed(RED_V4);
    wrong.bytes[23] = 58;
    assert_eq!(seen(&wrong, Rx, 1500), NOTHING);
    // What is quoted must be a header of the same family.
    let mut wrong = needed(RED_V4);
    wrong.bytes[42] = 0x60;
    assert_eq!(seen(&wrong, Rx, 1500), NOTHING);
    let mut wrong = too_big(RED_V6);
    wrong.bytes[62] = 0x45;
    assert_eq!(seen(&wrong, Rx, 1500), NOTHING);
}

#[test]
fn what_is_cut_short_is_nothing() {
    let tag = [0x81, 0, 0, 5];
    // With where the source ends of what is quoted.
    for (whole, end) in
        [(needed(RED_V4), 58), (too_big(RED_V6), 86), (tagged(&needed(RED_V4), tag), 62)]
    {
        for length in 0..=whole.bytes.len() {
            let mut cut = whole.clone();
            cut.bytes.truncate(length);
            let seen = seen(&cut, Rx, 1500);
            assert!(seen.is_empty() || length >= end, "{length}: {seen:?}");
            assert!(seen.len() == 2 || length < whole.bytes.len(), "{seen:?}");
        }
    }
    // A GSO packet whose transport header cannot be read.
    let mut cut = gso(ipv4(BLUE, TCP, 40), 34, 5, 1480);
    cut.bytes.truncate(44);
    assert_eq!(seen(&cut, Tx, 20), NOTHING);
}
