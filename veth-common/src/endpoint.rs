//! The identity of an end, and the slot that its counters live in.

/// Identity of an end. Interface indexes repeat across network namespaces and namespace inodes are
/// reused, but the kernel never gives a netns cookie twice (`net/core/net_namespace.c`,
/// `net_gen_cookie`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct EndKey {
    /// `SO_NETNS_COOKIE` of the namespace.
    pub netns_cookie: u64,
    /// Interface index inside that namespace.
    pub ifindex: u32,
    /// Always zero: hash maps compare padding too.
    pub padding: u32,
}

impl EndKey {
    /// The key of interface `ifindex` in the namespace with `netns_cookie`.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns_cookie: u64, ifindex: u32) -> Self {
        Self { netns_cookie, ifindex, padding: 0 }
    }
}

/// Where the counters of an end live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EndSlot {
    /// Index into the counters map.
    pub slot: u32,
    /// Grows each time the slot is given to another end.
    pub generation: u32,
}
