use super::*;
use crate::types::{IfIndex, NetnsCookie};
use veth_common::trace::Event;

/// Two pods, each with a far end (odd) and a near end in namespace 1.
const POD_A: EndId = end(2, 1);
const NEAR_A: EndId = end(1, 2);
const POD_B: EndId = end(3, 1);
const NEAR_B: EndId = end(1, 4);

const fn end(netns: u64, ifindex: u32) -> EndId {
    EndId { netns: NetnsCookie(netns), ifindex: IfIndex(ifindex) }
}

fn cables() -> Cables {
    let peers = [(POD_A, NEAR_A), (NEAR_A, POD_A), (POD_B, NEAR_B), (NEAR_B, POD_B)];
    Cables { peers: peers.into(), seen_leaving: [POD_A, NEAR_A, POD_B, NEAR_B].into() }
}

/// An IPv4 packet of UDP with this identification and TTL.
fn frame(id: u8, ttl: u8) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 32, 0, id, 0, 0, ttl, 17, ttl, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0, 9, 0, 9, 0, 12, ttl, ttl, 1, 2, 3, 4]);
    frame
}

fn seen(packet: u64, micros: u64, (end, kind): Place, frame: Vec<u8>) -> Captured {
    let event = Event {
        packet,
        time: micros * 1000,
        netns_cookie: end.netns.0,
        ifindex: end.ifindex.0,
        kind,
        ..Event::from_bytes(&[0; Event::BYTES])
    };
    Captured { event, frame }
}

/// The ways of all packets, one after the other.
fn follow(all: Vec<Captured>) -> Vec<Vec<Hop>> {
    let mut follower = Follower::new(cables(), Order::Packets);
    all.into_iter().for_each(|captured| follower.add(captured));
    ways(follower.finish())
}

fn ways(hops: Vec<Hop>) -> Vec<Vec<Hop>> {
    let mut ways: Vec<Vec<Hop>> = Vec::new();
    for hop in hops {
        match ways.last_mut().filter(|way| way[0].packet == hop.packet) {
            Some(way) => way.push(hop),
            None => ways.push(vec![hop]),
        }
    }
    ways
}

fn verdicts(way: &[Hop]) -> Vec<Option<Verdict>> {
    way.iter().map(|hop| hop.verdict).collect()
}

/// Packet and microsecond of each.
fn order(hops: &[Hop]) -> Vec<(u64, u64)> {
    hops.iter().map(|hop| (hop.packet, hop.captured.event.time / 1000)).collect()
}

#[test]
fn a_packet_keeps_its_number_from_pod_to_pod() {
    let way = [(POD_A, kind::OUT), (NEAR_A, kind::IN), (NEAR_B, kind::OUT), (POD_B, kind::IN)];
    // A router has changed it on the way, and another packet has come in between.
    let hops = way.iter().zip([64, 64, 63, 63]).enumerate();
    let mut all: Vec<_> =
        hops.map(|(at, (place, ttl))| seen(7, at as u64 * 5, *place, frame(1, ttl))).collect();
    all.insert(2, seen(8, 6, (POD_B, kind::OUT), frame(2, 64)));
    let ways = follow(all);
    assert_eq!(ways.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1]);
    let pass = Some(Verdict::Pass);
    assert_eq!(verdicts(&ways[0]), [pass, pass, pass, None]);
    let since: Vec<_> = ways[0].iter().map(|hop| hop.since).collect();
    let step = Some(Duration::from_micros(5));
    assert_eq!(since, [None, step, step, step]);
}

#[test]
fn one_that_skips_the_near_end_was_redirected() {
    let way = [(POD_A, kind::OUT), (NEAR_A, kind::IN), (POD_B, kind::IN)];
    let all: Vec<_> = way.iter().map(|place| seen(7, 0, *place, frame(1, 64))).collect();
    let verdict = verdicts(&follow(all)[0]);
    assert_eq!(verdict, [Some(Verdict::Pass), Some(Verdict::Redirect), None]);
}

#[test]
fn where_nobody_looks_at_the_near_end_nobody_knows() {
    let blind = Cables { seen_leaving: [POD_A, NEAR_A, POD_B].into(), ..cables() };
    let half_seen = Cables { peers: BTreeMap::new(), ..cables() };
    let way = [(POD_A, kind::OUT), (NEAR_A, kind::IN), (POD_B, kind::IN)];
    for cables in [blind, half_seen] {
        let mut follower = Follower::new(cables, Order::Packets);
        way.iter().for_each(|place| follower.add(seen(7, 0, *place, frame(1, 64))));
        assert_eq!(verdicts(&follower.finish()), [Some(Verdict::Pass), None, None]);
    }
}

#[test]
fn a_drop_ends_it_even_where_nothing_is_left_of_the_packet() {
    let all = vec![
        seen(7, 0, (POD_A, kind::OUT), frame(1, 64)),
        seen(7, 1, (NEAR_A, kind::DROP), Vec::new()),
        seen(7, 2, (POD_A, kind::OUT), frame(1, 64)),
    ];
    let ways = follow(all);
    assert_eq!(verdicts(&ways[0]), [Some(Verdict::Pass), Some(Verdict::Drop)]);
    assert_eq!(ways[1].len(), 1);
}

#[test]
fn the_same_place_is_not_the_same_packet() {
    let out = (POD_A, kind::OUT);
    let others = [
        // The same bytes at the same hook; other bytes; the same after a while.
        seen(7, 3, out, frame(1, 64)),
        seen(7, 3, (NEAR_A, kind::IN), frame(2, 64)),
        seen(7, 300_000, (NEAR_A, kind::IN), frame(1, 64)),
    ];
    for other in others {
        assert_eq!(follow(vec![seen(7, 0, out, frame(1, 64)), other]).len(), 2);
    }
}

#[test]
fn what_is_quiet_has_arrived() {
    let mut follower = Follower::new(cables(), Order::Packets);
    follower.add(seen(7, 1000, (POD_A, kind::OUT), frame(1, 64)));
    assert_eq!(follower.arrived(Duration::from_millis(100)).len(), 0);
    assert_eq!(follower.arrived(Duration::from_millis(101)).len(), 1);
    assert_eq!(follower.finish().len(), 0);
}

/// The second packet drops while the first is still on its way, and the third is at its place.
fn overtaken() -> [Captured; 5] {
    [
        seen(7, 10, (POD_A, kind::OUT), frame(1, 64)),
        seen(8, 20, (POD_B, kind::OUT), frame(2, 64)),
        seen(8, 30, (NEAR_B, kind::DROP), Vec::new()),
        seen(8, 40, (POD_B, kind::OUT), frame(3, 64)),
        seen(7, 50, (NEAR_A, kind::IN), frame(1, 64)),
    ]
}

#[test]
fn what_has_arrived_waits_for_what_was_seen_before_it() {
    let mut follower = Follower::new(cables(), Order::Packets);
    overtaken().into_iter().for_each(|captured| follower.add(captured));
    assert_eq!(order(&follower.arrived(Duration::from_millis(50))), []);
    follower.add(seen(7, 60, (POD_A, kind::OUT), frame(4, 64)));
    let arrived = order(&follower.arrived(Duration::from_millis(50)));
    assert_eq!(arrived, [(1, 10), (1, 50), (2, 20), (2, 30)]);
    assert_eq!(order(&follower.finish()), [(3, 40), (4, 60)]);
}

#[test]
fn a_file_has_its_packets_in_the_order_of_their_times() {
    let mut follower = Follower::new(cables(), Order::Times);
    overtaken().into_iter().for_each(|captured| follower.add(captured));
    follower.add(seen(7, 60, (POD_A, kind::OUT), frame(4, 64)));
    // The third packet is still on its way, and nothing that is later than its first hop comes before that.
    let arrived = order(&follower.arrived(Duration::from_millis(50)));
    assert_eq!(arrived, [(1, 10), (2, 20), (2, 30)]);
    assert_eq!(order(&follower.finish()), [(3, 40), (1, 50), (4, 60)]);
}

#[test]
fn a_flood_takes_no_more_room_than_there_is() {
    for out in [Order::Packets, Order::Times] {
        let mut follower = Follower { most: 10_000, ..Follower::new(cables(), out) };
        let mut came_out = Vec::new();
        // All are at their first hop together, and then all come further.
        for place in [(POD_A, kind::OUT), (NEAR_A, kind::IN)] {
            for packet in 0..1000 {
                let time = if place.1 == kind::OUT { packet } else { 1000 + packet };
                follower.add(seen(packet, time, place, frame(1, 64)));
                came_out.extend(follower.arrived(Duration::ZERO));
                assert!(follower.kept <= 10_000, "{} bytes", follower.kept);
            }
        }
        came_out.extend(follower.finish());
        assert_eq!((came_out.len(), follower.kept), (2000, 0), "each comes out once");
        assert!(follower.underway.is_empty());
        match out {
            Order::Packets => assert!(came_out.is_sorted_by_key(|hop| hop.packet)),
            Order::Times => assert!(came_out.is_sorted_by_key(|hop| time(&hop.captured))),
        }
    }
}
