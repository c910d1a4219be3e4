//! What is there: namespaces, links and the pairs that join them.

mod snapshot;

pub use snapshot::{
    Address, Link, LinkKind, Namespace, OperState, PeerRef, Route, Snapshot, Unseen,
};
