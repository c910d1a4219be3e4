//! Namespaces as JSON and tables show them.

use serde::Serialize;

use crate::inventory::{Namespace, Snapshot};

/// A namespace of an end.
#[derive(Clone, Debug, Serialize)]
pub struct NetnsView {
    /// `host`, its name, or none.
    pub name: Option<String>,
    /// Inode of its file.
    pub inode: u64,
    /// The number that is never used again.
    pub cookie: u64,
    /// What people read, even where it has no name.
    #[serde(skip)]
    pub label: String,
}

impl NetnsView {
    /// What there is to say of a namespace of `snapshot`.
    pub fn new(snapshot: &Snapshot, netns: &Namespace) -> Self {
        let label = netns.label(snapshot.host);
        let named = netns.cookie == snapshot.host || !netns.names.is_empty();
        let name = named.then(|| label.clone());
        Self { name, inode: netns.inode, cookie: netns.cookie.0, label }
    }
}
