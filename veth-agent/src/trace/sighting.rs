//! One packet at one place, as far as is known.

use std::{fmt, time::Duration};

/// An end as people call it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndName {
    /// `host`, the name under `/run/netns`, or `net:[INODE]`.
    pub netns: String,
    /// Its interface.
    pub interface: String,
}

impl fmt::Display for EndName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.netns, self.interface)
    }
}

/// From the end's own point of view, as in `ip -s link`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// It arrives at the end.
    In,
    /// It leaves by the end.
    Out,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It went on.
    Pass,
    /// It took the fast path.
    Redirect,
    /// The kernel freed it.
    Drop,
}

/// A process that sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id in the first of all namespaces of processes, the node's own.
    pub pid: u32,
    /// Its name: at most 15 bytes, and whatever the process has put there.
    pub name: String,
}

/// One packet at one place.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Since 1970 (UTC).
    pub time: Duration,
    /// Address of its `struct sk_buff`: the same at each hook that it passes.
    pub packet: u64,
    /// Which number a packet that was seen several times has in this trace, counted from 1; `None` where
    /// packets are not followed.
    pub packet_id: Option<u64>,
    /// Since it was seen last, where packets are followed and this is not the first time.
    pub since: Option<Duration>,
    /// Where. `None`: the kernel dropped it where no end is to be made out.
    pub end: Option<&'a EndName>,
    /// The other end of the pair.
    pub peer: Option<&'a EndName>,
    /// `None` for a packet that the kernel dropped.
    pub direction: Option<Direction>,
    /// `None` until something has decided it.
    pub verdict: Option<Verdict>,
    /// The kernel's name of the reason that it was dropped for, lower case.
    pub reason: Option<&'a str>,
    /// The function of the kernel that dropped it, `SYMBOL+0xOFFSET` where it is known.
    pub place: Option<&'a str>,
    /// Bytes of the frame, Ethernet header and VLAN tag included; of a GSO packet all of it.
    pub length: u32,
    /// Frames that a wire would carry for it.
    pub segments: u32,
    /// Payload of one segment; `None` for a plain packet.
    pub gso_size: Option<u32>,
    /// MTU of the end.
    pub mtu: Option<u32>,
    /// `skb->mark`.
    pub mark: u32,
    /// The process that sends, where it is known.
    pub process: Option<&'a Process>,
    /// Whether the packet had no Ethernet header, and that of `frame` is made up.
    pub bare: bool,
    /// The first bytes of the frame, from its Ethernet header on, the VLAN tag put back in. Of a packet
    /// that was dropped it may be empty.
    pub frame: &'a [u8],
}
