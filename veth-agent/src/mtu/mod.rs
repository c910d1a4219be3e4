//! The MTU graph: what each end puts on its cable, and what the hops behind it take. Pure, from the
//! picture alone, so that a mismatch is known before the first packet is lost to it.
//!
//! A packet that is too large dies without a word inside a pair (`is_skb_forwardable`,
//! `net/core/dev.c`) and at the port of a bridge (`br_dev_queue_push_xmit`); a router tells its sender.

mod bridge;
mod exit;
mod graph;
#[cfg(test)]
mod tests;
mod tunnel;

use std::collections::BTreeSet;

pub use exit::{Exit, exits};
pub use graph::Graph;
pub use tunnel::{Overloaded, overloaded, takes};

use crate::{inventory::Snapshot, types::EndId};

/// Between what and what two sizes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An end and its peer.
    Peer,
    /// What comes from an end, or from its bridge, and another port or the bridge.
    Bridge,
    /// What comes from an end, and the link or tunnel by which the host sends it on.
    Uplink,
    /// A route and the link that it leads over.
    Route,
}

impl Kind {
    /// All of them, in the order of their labels.
    pub const ALL: [Self; 4] = [Self::Bridge, Self::Peer, Self::Route, Self::Uplink];

    /// The label of `veth_agent_mtu_mismatch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Bridge => "bridge",
            Self::Uplink => "uplink",
            Self::Route => "route",
        }
    }
}

/// An end from whose packets a hop behind it takes not all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mismatch {
    /// What takes too little.
    pub limit: EndId,
    /// Bytes of the largest packet that it takes, without the Ethernet header.
    pub takes: u32,
    /// Between what and what.
    pub kind: Kind,
    /// The end by which they come: an end that sends them, or the port by which they enter a bridge.
    pub end: EndId,
    /// What sends them: an end, or the bridge itself.
    pub sender: EndId,
    /// Bytes of the largest packet that it sends.
    pub sends: u32,
}

/// All mismatches of a snapshot that was taken with its routes, by what limits.
#[must_use]
pub fn mismatches(snapshot: &Snapshot) -> Vec<Mismatch> {
    let graph = Graph::new(snapshot);
    let mut found: Vec<_> = snapshot.ends().filter_map(|end| peer(&graph, end)).collect();
    found.extend(snapshot.ends().filter_map(|end| route(&graph, end)));
    found.extend(graph.bridges.iter().flat_map(|bridge| bridge::mismatches(&graph, bridge)));
    found.extend(snapshot.ends().flat_map(|end| exit::mismatches(&graph, end)));
    found.sort();
    found.dedup();
    found
}

/// The ends that have a mismatch, by kind.
#[must_use]
pub fn by_end(mismatches: &[Mismatch]) -> BTreeSet<(EndId, Kind)> {
    mismatches.iter().map(|mismatch| (mismatch.end, mismatch.kind)).collect()
}

fn peer(graph: &Graph<'_>, end: EndId) -> Option<Mismatch> {
    let limit = graph.snapshot.peer_of(end)?;
    let (sends, takes) = (graph.sends(end)?, graph.snapshot.link(limit)?.mtu);
    let mismatch = Mismatch { limit, takes, kind: Kind::Peer, end, sender: end, sends };
    (sends > takes).then_some(mismatch)
}

/// A route that promises more than its link takes: what follows it is made too large for it.
fn route(graph: &Graph<'_>, end: EndId) -> Option<Mismatch> {
    let takes = graph.snapshot.link(end)?.mtu;
    let sends = graph.over(end).iter().filter_map(|route| route.mtu).max()?;
    let mismatch = Mismatch { limit: end, takes, kind: Kind::Route, end, sender: end, sends };
    (sends > takes).then_some(mismatch)
}
