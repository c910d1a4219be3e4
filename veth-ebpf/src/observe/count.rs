//! Packets, bytes and segments of an end.

use veth_common::{
    counters::{Counters, Direction, EndCounters},
    endpoint::{EndKey, EndSlot},
};

use crate::{maps, packet::Packet};

/// An end that a packet passes, and its counters on this CPU.
pub struct Counted {
    /// The end's entry.
    pub end: EndSlot,
    /// Its counters.
    pub counters: &'static mut EndCounters,
}

/// Counts `packet` for the end that it passes in the namespace with `netns_cookie`.
#[inline(always)]
pub fn count(packet: &impl Packet, netns_cookie: u64, direction: Direction) -> Option<Counted> {
    let key = EndKey::new(netns_cookie, packet.ifindex());
    let Some(end) = maps::end(&key) else {
        maps::count_unknown();
        return None;
    };
    let Some(counters) = maps::counters(end.slot) else {
        maps::count_unknown();
        return None;
    };
    add(counters.direction_mut(direction), packet);
    Some(Counted { end, counters })
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
        fn gso_size(&self) -> u32 {
            0
        }
        fn is_tagged(&self) -> bool {
            false
        }
        fn read<const N: usize>(&self, _: u32) -> Option<[u8; N]> {
            None
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
