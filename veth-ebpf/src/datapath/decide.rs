//! The fast path's decision, a pure function of the packet and the tables.

use veth_common::{
    endpoint::EndSlot,
    fastpath::{Address, Endpoint, Fallback, Mac},
};

use super::Rewrite;
use crate::{packet::Packet, parse::parse};

/// What the agent has written down for the programs of one namespace.
pub trait Tables {
    /// Whether an agent is alive that keeps the tables right.
    fn leased(&self) -> bool;
    /// Where packets for an address go.
    fn endpoint(&self, address: Address) -> Option<Endpoint>;
    /// Index of the device in a place of the kernel's own map, unless it is gone.
    fn device(&self, place: u32) -> Option<u32>;
    /// Whether what these tables are for is how the packets of the end in `place` travel, too.
    fn takes(&self, place: u32) -> bool;
}

/// Where a packet goes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the stack, as if there were no fast path.
    Stack(Fallback),
    /// Into the namespace of the peer of this interface.
    Redirect {
        /// The near end of its destination.
        ifindex: u32,
        /// Its place in the kernel's own map.
        place: u32,
        /// What is changed on the way.
        rewrite: Rewrite,
    },
}

/// Decides about a packet that arrives at a near end of the fast path.
#[inline(always)]
pub fn decide(packet: &impl Packet, end: &EndSlot, tables: &impl Tables) -> Verdict {
    match redirect(packet, end, tables) {
        Ok((target, rewrite)) => {
            Verdict::Redirect { ifindex: target.ifindex, place: target.device, rewrite }
        }
        Err(reason) => Verdict::Stack(reason),
    }
}

#[inline(always)]
fn redirect(
    packet: &impl Packet,
    end: &EndSlot,
    tables: &impl Tables,
) -> Result<(Endpoint, Rewrite), Fallback> {
    if !tables.leased() {
        return Err(Fallback::Lease);
    }
    let headers = parse(packet)?;
    let (to, from) = (Mac(headers.head.to), Mac(headers.head.from));
    // The host's reverse-path filter does not see this packet: its sender must be who it says.
    let Some(source) = tables.endpoint(headers.source) else { return Err(Fallback::Source) };
    let here = source.ifindex == packet.ifindex() && source.generation == end.generation;
    if !here || source.far_mac != from {
        return Err(Fallback::Source);
    }
    let Some(target) = tables.endpoint(headers.destination) else {
        return Err(Fallback::Destination);
    };
    if target.ifindex == packet.ifindex() {
        return Err(Fallback::Hairpin);
    }
    // Two pairs redirect to each other in both directions or in neither.
    if source.bridge != target.bridge || !tables.takes(target.device) {
        return Err(Fallback::Destination);
    }
    let bridged = source.bridge != 0;
    if to != (if bridged { target.far_mac } else { source.near_mac }) {
        return Err(Fallback::Mac);
    }
    if !bridged && headers.hop_limit <= 1 {
        return Err(Fallback::HopLimit);
    }
    // A bridge looks at them, too, where its packets pass the chains of IP (`br_validate_ipv4`,
    // `net/bridge/br_netfilter_hooks.c`).
    if !headers.is_consistent(packet.bytes()) {
        return Err(Fallback::Malformed);
    }
    match headers.largest(packet) {
        Some(largest) if largest <= target.mtu => {}
        Some(_) => return Err(Fallback::Oversize),
        None => return Err(Fallback::Malformed),
    }
    // The kernel clears the place of a device that goes, before its index can be another's.
    if tables.device(target.device) != Some(target.ifindex) {
        return Err(Fallback::Gone);
    }
    let rewrite =
        if bridged { Rewrite::nothing(&headers) } else { Rewrite::routed(&headers, &target) };
    Ok((target, rewrite))
}
