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
    let found = look_up(packet, netns_cookie);
    match found {
        Some(Counted { end, counters }) => {
            add(counters.direction_mut(direction), packet);
            Some(Counted { end, counters })
        }
        None => {
            maps::count_unknown();
            None
        }
    }
}

/// The end that `packet` passes in the namespace with `netns_cookie`; nothing is counted.
#[inline(always)]
pub fn look_up(packet: &impl Packet, netns_cookie: u64) -> Option<Counted> {
    let end = maps::end(&EndKey::new(netns_cookie, packet.ifindex()))?;
    Some(Counted { end, counters: maps::counters(end.slot)? })
}

/// Adds `packet` to what one direction has carried.
#[inline(always)]
pub fn add(counters: &mut Counters, packet: &impl Packet) {
    counters.add(packet.bytes(), packet.segments());
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;
    use crate::crafted::Crafted;

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
}
