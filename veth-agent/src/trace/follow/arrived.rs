//! Hops of packets that have arrived, and the order in which they come out.

use std::{collections::BTreeMap, iter, time::Duration};

use super::{Hop, time};

/// In which order hops come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Packet by packet, in the order in which these were first seen.
    Packets,
    /// By their own times.
    Times,
}

/// Hops that may have to wait for earlier ones of others.
#[derive(Debug)]
pub struct Arrived {
    order: Order,
    /// By their times, where these are their order, then by packet and place in its way.
    hops: BTreeMap<(Duration, u64, usize), Hop>,
}

impl Arrived {
    pub const fn new(order: Order) -> Self {
        Self { order, hops: BTreeMap::new() }
    }

    /// Takes the way of a packet.
    pub fn add(&mut self, way: impl Iterator<Item = Hop>) {
        for (at, hop) in way.enumerate() {
            let time = match self.order {
                Order::Packets => Duration::ZERO,
                Order::Times => time(&hop.captured),
            };
            self.hops.insert((time, hop.packet, at), hop);
        }
    }

    /// Takes out those that nothing comes before any more: of the packets that are still on their way, the first
    /// was first seen then, or there is none.
    pub fn until(&mut self, first_seen: Option<Duration>) -> impl Iterator<Item = Hop> {
        iter::from_fn(move || {
            let next = self.hops.first_entry()?;
            let waits = first_seen.is_some_and(|seen| seen < next.key().0);
            (!waits).then(|| next.remove())
        })
    }
}
