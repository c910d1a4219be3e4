//! What the agent tells the programs of an end, for every packet.

/// Kept in an array, whose values change in place, and not beside the slot: an entry of a hash map that
/// is replaced may be another end's before its readers have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EndConfig {
    /// How the end's packets travel: one of [`crate::fastpath::mode`].
    pub mode: u32,
    /// The largest packet that takes the way on from here, by direction.
    pub limits: Limits,
}

/// The largest packets that are taken by what comes next, in bytes without the Ethernet header and a VLAN
/// tag; 0 where there is no limit, or none is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// Of what arrives at the end: by what lies behind it.
    pub rx: u32,
    /// Of what leaves the end: by its peer.
    pub tx: u32,
}
