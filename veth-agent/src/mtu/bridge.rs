//! What a bridge is given, and what its ports take.

use super::{Graph, Kind, Mismatch, takes};
use crate::{
    inventory::{Bridge, Link},
    types::EndId,
};

/// A hop and the largest packet that it takes.
type Taker<'a> = (u32, &'a Link);

/// Ports by which more comes than another port takes, and ports that take less than the bridge sends.
pub fn mismatches(graph: &Graph<'_>, bridge: &Bridge<'_>) -> Vec<Mismatch> {
    let narrow = narrowest(bridge);
    let from_ports = bridge.ends.iter().filter_map(|port| {
        let sends = graph.by_port(bridge.netns, port);
        let end = bridge.netns.end(port.index);
        let sender = graph.snapshot.peer_of(end).unwrap_or(end);
        let (takes, limit) = narrowest_but(&narrow, port)?;
        Some(mismatch(bridge, port, (sender, sends), (limit, takes)))
    });
    let of_the_bridge = graph.by_routes(bridge.netns, bridge.link);
    let from_bridge = bridge.ends.iter().map(|port| {
        mismatch(bridge, port, (bridge.id(), of_the_bridge), (port, takes(bridge.netns, port)))
    });
    from_ports.chain(from_bridge).filter(|mismatch| mismatch.sends > mismatch.takes).collect()
}

fn mismatch(
    bridge: &Bridge<'_>,
    port: &Link,
    (sender, sends): (EndId, u32),
    (limit, takes): (&Link, u32),
) -> Mismatch {
    let (limit, end) = (bridge.netns.end(limit.index), bridge.netns.end(port.index));
    Mismatch { limit, takes, kind: Kind::Bridge, end, sender, sends }
}

/// The two narrowest hops, the narrowest one first; of equal ones a port, which is the cause where the
/// bridge follows its ports.
fn narrowest<'a>(bridge: &Bridge<'a>) -> Vec<Taker<'a>> {
    let ports = bridge.ports().map(|port| (takes(bridge.netns, port), port));
    let mut takers: Vec<_> = ports.chain([(bridge.link.mtu, bridge.link)]).collect();
    takers.sort_by_key(|(takes, link)| (*takes, link.index == bridge.link.index, link.index));
    takers.truncate(3);
    takers
}

/// The narrowest hop that a packet meets which comes in by `port`. A bridge whose MTU is that of this
/// very port only follows it.
fn narrowest_but<'a>(narrow: &[Taker<'a>], port: &Link) -> Option<Taker<'a>> {
    narrow.iter().find(|(_, link)| link.index != port.index).copied()
}
