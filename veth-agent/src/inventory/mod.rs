//! What is there: namespaces, links and the pairs that join them.

mod discover;
mod join;
mod pairs;
mod read;
mod snapshot;
mod watch;

pub use discover::{Change, Depth, DiscoverError, Inventory, snapshot};
pub use pairs::{Pair, PairState};
pub use read::{link as read_link, read_routes};
pub use snapshot::{
    Address, HOST, Link, LinkKind, Namespace, OperState, PeerRef, Port, Route, Snapshot, Unseen,
};
pub use watch::{Pending, WatchError, watch};
