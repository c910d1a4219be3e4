//! The offloads of a far end that XDP at the near end needs another way.
//!
//! A frame that crosses by `XDP_REDIRECT` loses what lies beside it: a checksum that is still to be
//! made (`CHECKSUM_PARTIAL`) and a VLAN tag. And it only arrives where NAPI is on (`veth_xdp_xmit`,
//! `drivers/net/veth.c`), as GRO has it.

use veth_common::journal::{FAR_GRO, FAR_TX_CHECKSUM, FAR_TX_STAG, FAR_TX_VLAN};

use crate::{
    netlink::{self, NetlinkError},
    types::IfIndex,
};

/// A flag of the journal, the kernel's name of the offload, and how XDP needs it.
const NEEDS: [(u32, &str, bool); 4] = [
    (FAR_TX_CHECKSUM, "tx-checksum-ip-generic", false),
    (FAR_TX_VLAN, "tx-vlan-hw-insert", false),
    (FAR_TX_STAG, "tx-vlan-stag-hw-insert", false),
    (FAR_GRO, "rx-gro", true),
];

/// The offloads of an interface that are not as XDP needs them: flags of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfit(pub u32);

impl Unfit {
    /// Every one.
    pub const ALL: Self = Self(FAR_TX_CHECKSUM | FAR_TX_VLAN | FAR_TX_STAG | FAR_GRO);

    /// Looks at an interface of the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn look(ifindex: IfIndex) -> Result<Self, NetlinkError> {
        let on = netlink::offloads(ifindex)?;
        let unfit = NEEDS.iter().filter(|(_, name, need)| on.contains(*name) != *need);
        Ok(Self(unfit.fold(0, |flags, (flag, ..)| flags | flag)))
    }

    /// Switches them to what XDP needs, or back to what they were, in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn switch(self, ifindex: IfIndex, fit: bool) -> Result<(), NetlinkError> {
        let switches: Vec<_> = self.needs().map(|(_, name, need)| (*name, *need == fit)).collect();
        if switches.is_empty() { Ok(()) } else { netlink::switch_offloads(ifindex, &switches) }
    }

    /// As `ethtool -k` would show them: `tx-checksum-ip-generic on`.
    #[must_use]
    pub fn describe(self) -> String {
        let words = self
            .needs()
            .map(|(_, name, need)| format!("{name} {}", if *need { "off" } else { "on" }));
        words.collect::<Vec<_>>().join(", ")
    }

    fn needs(self) -> impl Iterator<Item = &'static (u32, &'static str, bool)> {
        NEEDS.iter().filter(move |(flag, ..)| self.0 & flag != 0)
    }
}
