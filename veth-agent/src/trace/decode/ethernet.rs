//! Ethernet and its VLAN tags.

use etherparse::{Ethernet2HeaderSlice, SingleVlanHeaderSlice};
use serde::Serialize;

use super::{Fault, part::Part};
use crate::types::MacAddr;

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;

/// 802.1Q, 802.1ad, and what was used before the latter.
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// More than this many are not looked into.
const MAX_TAGS: usize = 4;

const HEADER: usize = 14;
const TAG: usize = 4;

/// An Ethernet header and the VLAN tags behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ethernet {
    /// Who sent the frame.
    pub source: MacAddr,
    /// For whom it is.
    pub destination: MacAddr,
    /// What it carries, behind its tags; a length in bytes where it is below 0x600 (IEEE 802.3).
    pub ethertype: u16,
    /// Its tags, the outer one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vlan: Vec<Vlan>,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Vlan {
    /// 0 to 4095.
    pub id: u16,
    /// 0 to 7.
    pub priority: u8,
}

pub fn read(frame: Part<'_>) -> Result<(Ethernet, Part<'_>), Fault> {
    let cut = |_| Fault::Cut("ether");
    let header = Ethernet2HeaderSlice::from_slice(frame.bytes).map_err(cut)?;
    let mut ethernet = Ethernet {
        source: MacAddr(header.source()),
        destination: MacAddr(header.destination()),
        ethertype: header.ether_type().0,
        vlan: Vec::new(),
    };
    let mut rest = frame.after(HEADER);
    while TAGS.contains(&ethernet.ethertype) && ethernet.vlan.len() < MAX_TAGS {
        let tag = SingleVlanHeaderSlice::from_slice(rest.bytes).map_err(|_| Fault::Cut("vlan"))?;
        ethernet.vlan.push(Vlan {
            id: tag.vlan_identifier().value(),
            priority: tag.priority_code_point().value(),
        });
        ethernet.ethertype = tag.ether_type().0;
        rest = rest.after(TAG);
    }
    Ok((ethernet, rest))
}
