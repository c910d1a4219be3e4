//! Changes that the agent made to what it does not own, so that `detach` can undo them even after
//! a crash.

/// What was changed on one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Journal {
    /// [`QDISC_ADDED`] and its like.
    pub flags: u32,
    /// TC priority of our ingress filter, 0 where there is none.
    pub ingress_priority: u16,
    /// TC priority of our egress filter, 0 where there is none.
    pub egress_priority: u16,
}

/// The `clsact` qdisc of the end was not there before us.
pub const QDISC_ADDED: u32 = 1;
/// The node's `rcu_expedited` switch was off before us. Stands in the entry of no end.
pub const RCU_EXPEDITED: u32 = 2;
/// What follows was switched for XDP at the other end of the pair, and was the other way before us:
/// `tx-checksum-ip-generic` was on.
pub const FAR_TX_CHECKSUM: u32 = 4;
/// `tx-vlan-hw-insert` was on.
pub const FAR_TX_VLAN: u32 = 8;
/// `tx-vlan-stag-hw-insert` was on.
pub const FAR_TX_STAG: u32 = 16;
/// `rx-gro` was off.
pub const FAR_GRO: u32 = 32;
