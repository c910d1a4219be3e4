//! What a trace's programs tell of a packet.

use core::mem::offset_of;

/// Where a packet was seen.
pub mod kind {
    /// It arrived at the end.
    pub const IN: u32 = 0;
    /// It left by the end.
    pub const OUT: u32 = 1;
    /// The kernel freed it.
    pub const DROP: u32 = 2;
}

/// Longest part of a frame that an event carries, in bytes.
pub const MAX_CAPTURED: u32 = 65_535;

/// How far into a frame a filter may look, in bytes, where the kernel cannot show it the packet itself: of
/// packets that have a VLAN tag beside them, and of those that are dropped.
pub const FILTER_REACH: u32 = 16_384;

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
    /// Its name, in words: a zero byte and what is behind it are none of it.
    pub comm: [u64; COMM / 8],
    /// One of [`kind`].
    pub kind: u32,
    /// Not zero where the packet had no Ethernet header: the frame begins with one that is made up.
    pub bare: u32,
}

impl Event {
    /// Bytes of one.
    pub const BYTES: usize = size_of::<Self>();

    /// An event as the program wrote it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let long = |at| u64::from_ne_bytes(array(bytes, at));
        let word = |at| u32::from_ne_bytes(array(bytes, at));
        Self {
            time: long(offset_of!(Self, time)),
            packet: long(offset_of!(Self, packet)),
            netns_cookie: long(offset_of!(Self, netns_cookie)),
            location: long(offset_of!(Self, location)),
            ifindex: word(offset_of!(Self, ifindex)),
            length: word(offset_of!(Self, length)),
            captured: word(offset_of!(Self, captured)),
            segments: word(offset_of!(Self, segments)),
            gso_size: word(offset_of!(Self, gso_size)),
            mark: word(offset_of!(Self, mark)),
            reason: word(offset_of!(Self, reason)),
            pid: word(offset_of!(Self, pid)),
            comm: [long(offset_of!(Self, comm)), long(offset_of!(Self, comm) + 8)],
            kind: word(offset_of!(Self, kind)),
            bare: word(offset_of!(Self, bare)),
        }
    }
}

/// The `N` bytes from `at` on; zeros where there are not so many.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
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

/// What counts: one program at a time on each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Source {
    /// The hooks of ends.
    Ends = 0,
    /// `skb:kfree_skb`.
    Drops = 1,
}

impl Source {
    /// All of them, each in its own place.
    pub const ALL: [Self; 2] = [Self::Ends, Self::Drops];
}

/// One way in which packets end whose work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NormalEnd {
    /// First address in the kernel's text.
    pub first: u64,
    /// The one behind the last; 0 where this is none.
    pub behind: u64,
    /// `enum skb_drop_reason` of the running kernel.
    pub reason: u32,
    /// Not zero where only frames that came to a group or to all end so.
    pub only_to_groups: u32,
}

impl NormalEnd {
    /// How many are looked at.
    pub const MOST: u32 = 128;

    /// Whether a packet that is freed for this reason at this place, and came to a group or to all or not,
    /// ends so.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, reason: u32, location: u64, is_to_group: bool) -> bool {
        self.reason == reason
            && self.first <= location
            && location < self.behind
            && (is_to_group || self.only_to_groups == 0)
    }

    /// How many places it stands for.
    #[inline(always)]
    #[must_use]
    pub const fn places(&self) -> u64 {
        self.behind.saturating_sub(self.first)
    }
}
