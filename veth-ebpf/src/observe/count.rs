//! Packets, bytes and segments of an end.

use veth_common::{
    counters::{Counters, Direction},
    endpoint::EndKey,
};

use crate::{maps, packet::Packet};

/// Counts `packet` for the end that it passes in the namespace with `netns_cookie`.
#[inline(always)]
pub fn count(packet: &impl Packet, netns_cookie: u64, direction: Direction) {
    let key = EndKey::new(netns_cookie, packet.ifindex());
    match maps::slot(&key).and_then(maps::counters) {
        Some(counters) => add(counters.direction_mut(direction), packet),
        None => maps::count_unknown(),
    }
}

#[inline(always)]
fn add(counters: &mut Counters, packet: &impl Packet) {
    counters.add(packet.bytes(), packet.segments());
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Crafted {
        len: u32,
        segments: u32,
    }

    impl Packet for Crafted {
        fn ifindex(&self) -> u32 {
            7
        }
        fn bytes(&self) -> u32 {
            self.len
        }
        fn segments(&self) -> u32 {
            self.segments
        }
    }

    #[test]
    fn a_gso_packet_is_one_packet_of_many_segments() {
        let mut counters = Counters::default();
        add(&mut counters, &Crafted { len: 98, segments: 1 });
        add(&mut counters, &Crafted { len: 65_226, segments: 45 });
        assert_eq!(counters, Counters { packets: 2, bytes: 65_324, segments: 46 });
    }
}
