//! What a trace's programs tell of a packet.

/// Where a packet was seen.
pub mod kind {
    /// It arrived at the end.
    pub const IN: u8 = 0;
    /// It left by the end.
    pub const OUT: u8 = 1;
    /// The kernel freed it.
    pub const DROP: u8 = 2;
}

/// Longest part of a frame that an event carries, in bytes.
pub const MAX_CAPTURED: u32 = 65_535;

/// Bytes of a name of a process, with the zero at its end: `TASK_COMM_LEN`.
pub const COMM: usize = 16;

/// The beginning of an event; `captured` bytes of the frame follow, its VLAN tag put back in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When, in ns of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Address of the packet's `struct sk_buff`: the same at each hook that it passes, until the kernel
    /// frees it and uses the place for another.
    pub packet: u64,
    /// `SO_NETNS_COOKIE` of the end's namespace.
    pub netns_cookie: u64,
    /// The address in the kernel's text that freed it; 0 where it was not freed.
    pub location: u64,
    /// Index of the end inside its namespace.
    pub ifindex: u32,
    /// Bytes of the frame, Ethernet header and VLAN tag included; of a GSO packet all of it.
    pub length: u32,
    /// Bytes of the frame that follow.
    pub captured: u32,
    /// Frames that a wire would carry for it; 1 for a plain packet.
    pub segments: u32,
    /// Payload of one segment in bytes; 0 for a plain packet.
    pub gso_size: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// `enum skb_drop_reason` of the running kernel; 0 where it was not freed.
    pub reason: u32,
    /// The process that sends, where it is known; 0 where not.
    pub pid: u32,
    /// Its name.
    pub comm: [u8; COMM],
    /// One of [`kind`].
    pub kind: u8,
    /// Zero.
    pub padding: [u8; 7],
}

/// What one CPU has counted for a trace, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Seen {
    /// Came by.
    pub seen: u64,
    /// Of those, the filter let through.
    pub matched: u64,
    /// Of those, found no room in the ring.
    pub lost: u64,
}
