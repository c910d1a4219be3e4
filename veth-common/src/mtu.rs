//! What the programs see of packets that do not fit.

use crate::{counters::Direction, fastpath::Address};

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4 = 0,
    /// IPv6.
    Ipv6 = 1,
}

impl Family {
    /// Both of them, each in its own place.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// What is counted of packets that do not fit, of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Larger than [`crate::config::Limits`].
    Oversize(Direction),
    /// A piece of a larger packet.
    Fragment(Family, Direction),
    /// An ICMP error that names an MTU: "fragmentation needed" (RFC 1191), "packet too big" (RFC 8201).
    Error(Family, Direction),
    /// Such an error, arriving in the namespace that sent what it is about.
    Reached(Family),
}

impl Figure {
    /// Its place in [`MtuCounters`].
    #[inline(always)]
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::Oversize(direction) => direction as usize,
            Self::Fragment(family, direction) => 2 + 2 * family as usize + direction as usize,
            Self::Error(family, direction) => 6 + 2 * family as usize + direction as usize,
            Self::Reached(family) => 10 + family as usize,
        }
    }
}

/// Packets of an end that do not fit, by [`Figure`]. Apart from [`crate::counters::EndCounters`], which
/// every packet touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MtuCounters {
    /// One count a [`Figure::place`].
    pub by_place: [u64; 12],
}

impl MtuCounters {
    /// The sum of two readings, for example of two CPUs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut sum = self;
        for (sum, other) in sum.by_place.iter_mut().zip(other.by_place) {
            *sum = sum.wrapping_add(other);
        }
        sum
    }

    /// The count of one figure.
    #[must_use]
    pub const fn get(&self, figure: Figure) -> u64 {
        self.by_place[figure.place()]
    }
}

/// An address of a namespace that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct AddressKey {
    /// `SO_NETNS_COOKIE` of the namespace.
    pub netns_cookie: u64,
    /// The address.
    pub address: Address,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_place_of_its_own() {
        let mut counters = MtuCounters::default();
        let mut count = |figure: Figure| counters.by_place[figure.place()] += 1;
        for direction in Direction::BOTH {
            count(Figure::Oversize(direction));
        }
        for family in Family::BOTH {
            for direction in Direction::BOTH {
                count(Figure::Fragment(family, direction));
                count(Figure::Error(family, direction));
            }
            count(Figure::Reached(family));
        }
        assert_eq!(counters.by_place, [1; 12]);
    }
}
