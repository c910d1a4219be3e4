//! Label sets of ends.

use crate::{
    inventory::{Pair, Snapshot},
    types::EndId,
};

/// What tells one end's series from another's: no two living ends have the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndLabels {
    /// The namespace, as `list` calls it.
    pub netns: String,
    /// The interface.
    pub interface: String,
}

/// What `veth_agent_pair_info` says of an end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairInfo {
    /// Name of the pair.
    pub pair: String,
    /// Namespace of the other end, empty where unseen.
    pub peer_netns: String,
    /// The other end, empty where unseen.
    pub peer_interface: String,
    /// The bridge that the end is a port of, or empty.
    pub bridge: String,
    /// How its packets travel.
    pub datapath: &'static str,
}

/// The labels of an end that is in the snapshot.
pub fn of_end(snapshot: &Snapshot, end: EndId) -> Option<EndLabels> {
    let netns = snapshot.namespaces.get(&end.netns)?.label(snapshot.host);
    let interface = snapshot.link(end)?.name.clone();
    Some(EndLabels { netns, interface })
}

/// What is to be said of `end` as an end of `pair`.
pub fn of_pair(snapshot: &Snapshot, pair: &Pair, end: EndId) -> PairInfo {
    let peer = snapshot.peer_of(end).and_then(|peer| of_end(snapshot, peer));
    let (peer_netns, peer_interface) =
        peer.map(|peer| (peer.netns, peer.interface)).unwrap_or_default();
    PairInfo {
        pair: pair.name.clone(),
        peer_netns,
        peer_interface,
        bridge: snapshot.bridge_of(end).unwrap_or_default().to_owned(),
        datapath: pair.datapath().as_str(),
    }
}
