//! Packets that the kernel has freed, by end, place and reason, and where its structures keep what
//! is to be known of them.

use crate::names;

/// What is counted apart. The end is that which [`crate::endpoint::EndKey`] names, or no end: both
/// its numbers are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct DropKey {
    /// `SO_NETNS_COOKIE` of the end's namespace.
    pub netns_cookie: u64,
    /// The address in the kernel's text that freed the packet, or one of [`place`].
    pub location: u64,
    /// Index of the end inside its namespace.
    pub ifindex: u32,
    /// `enum skb_drop_reason` of the running kernel, and [`TO_GROUP`]; of a [`place`] of XDP, an errno.
    pub reason: u32,
}

/// Set in the reason of a frame that came to a group or to all. The kernel's own use 16 bits and a few above
/// (`SKB_DROP_REASON_SUBSYS_SHIFT`).
pub const TO_GROUP: u32 = 1 << 31;

/// Where frames are lost that no socket buffer carries. No text of the kernel lies there.
pub mod place {
    /// A redirect was refused: `xdp:xdp_redirect_err`.
    pub const XDP_REDIRECT: u64 = 1;
    /// The device that it went to did not take it: `xdp:xdp_devmap_xmit`.
    pub const XDP_XMIT: u64 = 2;
}

/// How much was freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DropCount {
    /// Socket buffers, or frames of XDP. A GSO super-frame is one.
    pub packets: u64,
    /// Frames that a wire would have carried: the sum of `gso_segs`, 1 for a plain packet.
    pub segments: u64,
}

impl DropCount {
    /// The sum of two readings, for example of two CPUs. Wraps as the kernel's counters do.
    #[inline(always)]
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            segments: self.segments.wrapping_add(other.segments),
        }
    }
}

/// The first bytes of a `struct sk_buff` that the program reads in one go. Where a kernel keeps
/// something beyond, that is not known there.
pub const SKB_BYTES: u64 = 224;

/// The offset of what the running kernel has not got, or where it cannot be read.
pub const UNKNOWN: u64 = u64::MAX;

/// Members of the kernel's structures whose offsets the agent looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Field {
    /// The device that a packet has come to.
    SkbDev = 0,
    /// The socket that it belongs to.
    SkbSk = 1,
    /// The route that it takes, with a flag in the lowest bit.
    SkbDst = 2,
    /// Index of the device that it came in by.
    SkbIif = 3,
    /// Where its buffer begins.
    SkbHead = 4,
    /// Where, from there, its shared part lies.
    SkbEnd = 5,
    /// Index of a device.
    DeviceIfindex = 6,
    /// Its namespace.
    DeviceNet = 7,
    /// Cookie of a namespace.
    NetCookie = 8,
    /// The device that a route leads to.
    DstDev = 9,
    /// The namespace of a socket.
    SockNet = 10,
    /// Segments of a packet.
    SharedSegments = 11,
    /// The byte that tells whom a packet is for, in its lowest three bits.
    SkbPacketType = 12,
    /// Payload of each.
    SharedSegmentBytes = 13,
    /// Address of what of the packet is still ahead.
    SkbData = 14,
    /// Where, from the beginning of the buffer, the part that lies there ends.
    SkbTail = 15,
    /// Bytes that are still ahead.
    SkbLen = 16,
    /// Where, from the beginning of the buffer, the Ethernet header lies.
    SkbMacHeader = 17,
    /// Where the network header lies.
    SkbNetworkHeader = 18,
    /// `EtherType`.
    SkbProtocol = 19,
    /// The VLAN tag that lies beside the packet: protocol and tag; zero where there is none (Linux 6.2).
    SkbVlan = 20,
    /// Mark.
    SkbMark = 21,
    /// The namespaces of a process.
    TaskNsproxy = 22,
    /// Its id.
    TaskTgid = 23,
    /// Its name.
    TaskComm = 24,
    /// Its memory; kernel threads have none.
    TaskMm = 25,
    /// The network namespace among the namespaces.
    NsproxyNet = 26,
}

/// What is known of a [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldFacts {
    /// The structure.
    pub structure: &'static str,
    /// Its member.
    pub member: &'static str,
    /// Bytes that it must have for the program to read it; 0 for a mere place.
    pub bytes: u32,
    /// The read-only global, an `u64`, that tells the program its offset in bytes, or [`UNKNOWN`].
    pub global: &'static str,
}

impl Field {
    /// All of them, each in its own place.
    pub const ALL: [Self; 27] = [
        Self::SkbDev,
        Self::SkbSk,
        Self::SkbDst,
        Self::SkbIif,
        Self::SkbHead,
        Self::SkbEnd,
        Self::DeviceIfindex,
        Self::DeviceNet,
        Self::NetCookie,
        Self::DstDev,
        Self::SockNet,
        Self::SharedSegments,
        Self::SkbPacketType,
        Self::SharedSegmentBytes,
        Self::SkbData,
        Self::SkbTail,
        Self::SkbLen,
        Self::SkbMacHeader,
        Self::SkbNetworkHeader,
        Self::SkbProtocol,
        Self::SkbVlan,
        Self::SkbMark,
        Self::TaskNsproxy,
        Self::TaskTgid,
        Self::TaskComm,
        Self::TaskMm,
        Self::NsproxyNet,
    ];

    /// Those that it takes to count what is lost; the others it takes to show it.
    pub const COUNTED: &[Self] = Self::ALL.split_at(13).0;

    /// Where to look it up, and how the program is told.
    #[must_use]
    pub const fn facts(self) -> FieldFacts {
        match self {
            Self::SkbDev => facts("sk_buff", "dev", 8, "SKB_DEV"),
            Self::SkbSk => facts("sk_buff", "sk", 8, "SKB_SK"),
            Self::SkbDst => facts("sk_buff", "_skb_refdst", 8, "SKB_DST"),
            Self::SkbIif => facts("sk_buff", "skb_iif", 4, "SKB_IIF"),
            Self::SkbHead => facts("sk_buff", "head", 8, "SKB_HEAD"),
            Self::SkbEnd => facts("sk_buff", "end", 4, "SKB_END"),
            Self::DeviceIfindex => facts("net_device", "ifindex", 4, "DEVICE_IFINDEX"),
            Self::DeviceNet => facts("net_device", "nd_net", 8, "DEVICE_NET"),
            Self::NetCookie => facts("net", "net_cookie", 8, "NET_COOKIE"),
            Self::DstDev => facts("dst_entry", "dev", 8, "DST_DEV"),
            Self::SockNet => facts("sock_common", "skc_net", 8, "SOCK_NET"),
            Self::SharedSegments => facts("skb_shared_info", "gso_segs", 2, "SHARED_SEGMENTS"),
            // A name for the place: the member itself is no byte, but three bits of one.
            Self::SkbPacketType => facts("sk_buff", "__pkt_type_offset", 0, "SKB_PACKET_TYPE"),
            Self::SharedSegmentBytes => facts("skb_shared_info", "gso_size", 2, "SHARED_SIZE"),
            Self::SkbData => facts("sk_buff", "data", 8, "SKB_DATA"),
            Self::SkbTail => facts("sk_buff", "tail", 4, "SKB_TAIL"),
            Self::SkbLen => facts("sk_buff", "len", 4, "SKB_LEN"),
            Self::SkbMacHeader => facts("sk_buff", "mac_header", 2, "SKB_MAC_HEADER"),
            Self::SkbNetworkHeader => facts("sk_buff", "network_header", 2, "SKB_NETWORK_HEADER"),
            Self::SkbProtocol => facts("sk_buff", "protocol", 2, "SKB_PROTOCOL"),
            Self::SkbVlan => facts("sk_buff", "vlan_all", 4, "SKB_VLAN"),
            Self::SkbMark => facts("sk_buff", "mark", 4, "SKB_MARK"),
            Self::TaskNsproxy => facts("task_struct", "nsproxy", 8, "TASK_NSPROXY"),
            Self::TaskTgid => facts("task_struct", "tgid", 4, "TASK_TGID"),
            Self::TaskComm => facts("task_struct", "comm", 16, "TASK_COMM"),
            Self::TaskMm => facts("task_struct", "mm", 8, "TASK_MM"),
            Self::NsproxyNet => facts("nsproxy", "net_ns", 8, "NSPROXY_NET"),
        }
    }
}

const fn facts(
    structure: &'static str,
    member: &'static str,
    bytes: u32,
    global: &'static str,
) -> FieldFacts {
    FieldFacts { structure, member, bytes, global }
}

/// A place in [`names::MAP_DROP_PROGRAMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DropProgram {
    /// `skb:kfree_skb`.
    Packets = 0,
    /// `xdp:xdp_redirect_err`.
    Redirects = 1,
    /// `xdp:xdp_devmap_xmit`.
    Transmits = 2,
}

impl DropProgram {
    /// All of them, each in its own place.
    pub const ALL: [Self; 3] = [Self::Packets, Self::Redirects, Self::Transmits];

    /// The tracepoint that it hears of.
    #[must_use]
    pub const fn tracepoint(self) -> &'static str {
        match self {
            Self::Packets => "kfree_skb",
            Self::Redirects => "xdp_redirect_err",
            Self::Transmits => "xdp_devmap_xmit",
        }
    }

    /// The program that is attached and stays.
    #[must_use]
    pub const fn attached(self) -> &'static str {
        match self {
            Self::Packets => names::PROGRAM_DROPS,
            Self::Redirects => names::PROGRAM_XDP_REDIRECT,
            Self::Transmits => names::PROGRAM_XDP_XMIT,
        }
    }

    /// The program that counts and is replaced by another build's.
    #[must_use]
    pub const fn counting(self) -> &'static str {
        match self {
            Self::Packets => names::PROGRAM_COUNT_DROP,
            Self::Redirects => names::PROGRAM_COUNT_REDIRECT,
            Self::Transmits => names::PROGRAM_COUNT_XMIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_a_place_and_a_global_of_its_own() {
        for (place, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, place, "{field:?}");
            let same = Field::ALL.iter().filter(|f| f.facts().global == field.facts().global);
            assert_eq!(same.count(), 1, "{field:?}");
        }
        for (place, program) in DropProgram::ALL.into_iter().enumerate() {
            assert_eq!(program as usize, place, "{program:?}");
        }
    }
}
