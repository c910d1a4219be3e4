//! What is there: namespaces, links and the pairs that join them.

mod again;
mod bridges;
#[cfg(test)]
pub mod crafted;
mod discover;
mod join;
mod pairs;
mod read;
mod snapshot;
mod tunnel;
mod watch;

pub use bridges::Bridge;
pub use discover::{Change, Depth, DiscoverError, Inventory, numbers, snapshot};
pub use pairs::{Pair, PairState};
pub use read::{link as read_link, read_routes};
pub use snapshot::{
    Address, HOST, Link, LinkKind, Namespace, OperState, PeerRef, Port, PortState, Route, Snapshot,
    Switches, Tunnel, Unseen,
};
pub use watch::{Pending, WatchError, watch};
