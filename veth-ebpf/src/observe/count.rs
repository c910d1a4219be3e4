//! Packets, bytes and segments of an end.

use veth_common::{
    counters::{Counters, Direction, EndCounters},
    endpoint::{EndKey, EndSlot},
};

use super::network::Network;
use crate::{maps, packet::Packet};

/// A packet that was counted.
pub struct Counted {
    /// The entry of the end that it passes.
    pub end: EndSlot,
    /// The end's counters on this CPU.
    pub counters: &'static mut EndCounters,
    /// Frames that a wire would carry for it.
    pub segments: u32,
}

/// Counts `packet` for the end that it passes in the namespace with `netns_cookie`.
#[inline(always)]
pub fn count(packet: &impl Packet, netns_cookie: u64, direction: Direction) -> Option<Counted> {
    let Some((end, counters)) = look_up(packet, netns_cookie) else {
        maps::count_unknown();
        return None;
    };
    let segments = add(counters.direction_mut(direction), packet);
    Some(Counted { end, counters, segments })
}

/// The end that `packet` passes in the namespace with `netns_cookie`, and its counters on this CPU;
/// nothing is counted.
#[inline(always)]
pub fn look_up(
    packet: &impl Packet,
    netns_cookie: u64,
) -> Option<(EndSlot, &'static mut EndCounters)> {
    let end = maps::end(&EndKey::new(netns_cookie, packet.ifindex()))?;
    Some((end, maps::counters(end.slot)?))
}

/// Adds `packet` to what one direction has carried; gives its segments.
#[inline(always)]
fn add(counters: &mut Counters, packet: &impl Packet) -> u32 {
    let segments = segments(packet);
    counters.add(packet.bytes(), segments);
    segments
}

/// Frames that a wire would carry for `packet`, at least 1.
#[inline(always)]
pub fn segments(packet: &impl Packet) -> u32 {
    let (segments, size) = (packet.gso_segs(), packet.gso_size());
    if segments == 0 && size != 0 { cut(packet, size).unwrap_or(1) } else { segments.max(1) }
}

/// How many segments of `size` there are in a packet of which the kernel has not counted them yet: in what
/// virtual machines and packet sockets give it, it does so behind the hook (`SKB_GSO_DODGY`,
/// `tcp_gso_segment`, `__udp_gso_segment`).
#[inline(always)]
fn cut(packet: &impl Packet, size: u32) -> Option<u32> {
    let network = Network::of(packet, &packet.head()?)?;
    let payload = packet.bytes().checked_sub(network.at + network.headers(packet)?)?;
    Some(payload.div_ceil(size).max(1))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;
    use crate::crafted::{BLUE, Crafted, ipv4, ipv6};

    fn crafted(bytes: usize, segments: u32) -> Crafted {
        Crafted {
            bytes: vec![0; bytes],
            ifindex: 7,
            segments,
            gso_size: 0,
            tagged: false,
            paged: false,
        }
    }

    #[test]
    fn a_gso_packet_is_one_packet_of_many_segments() {
        let mut counters = Counters::default();
        add(&mut counters, &crafted(98, 1));
        add(&mut counters, &crafted(65_226, 45));
        assert_eq!(counters, Counters { packets: 2, bytes: 65_324, segments: 46 });
    }

    #[test]
    fn segments_that_the_kernel_has_not_counted_are() {
        for (packet, transport, header) in
            [(ipv4(BLUE, 6, 8000), 34, 54), (ipv6(BLUE, 6, 8000), 54, 74)]
        {
            let payload = packet.bytes.len() as u32 - header;
            let mut packet = Crafted { segments: 0, ..packet };
            packet.bytes[transport + 12] = 0x50;
            for (size, wanted) in [
                (0, 1),
                (payload, 1),
                (payload - 1, 2),
                (payload / 5, 5),
                (payload / 5 - 1, 6),
                (9000, 1),
            ] {
                packet.gso_size = size;
                assert_eq!(segments(&packet), wanted, "{payload} by {size}");
            }
            packet.gso_size = 1000;
            packet.segments = 7;
            assert_eq!(segments(&packet), 7, "the kernel's own figure");
            // What cannot be told is one.
            packet.segments = 0;
            packet.bytes.truncate(40);
            assert_eq!(segments(&packet), 1);
        }
    }
}
