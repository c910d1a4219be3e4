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

/// The header, its payload, and the fault where its tags were cut off.
pub fn read(frame: Part<'_>) -> Result<(Ethernet, Part<'_>, Option<Fault>), Fault> {
    let header = Ethernet2HeaderSlice::from_slice(frame.bytes).map_err(|_| frame.short("ether"))?;
    let mut ethernet = Ethernet {
        source: MacAddr(header.source()),
        destination: MacAddr(header.destination()),
        ethertype: header.ether_type().0,
        vlan: Vec::new(),
    };
    let mut rest = frame.after(HEADER);
    while TAGS.contains(&ethernet.ethertype) && ethernet.vlan.len() < MAX_TAGS {
        let Ok(tag) = SingleVlanHeaderSlice::from_slice(rest.bytes) else {
            return Ok((ethernet, rest, Some(rest.short("vlan"))));
        };
        ethernet.vlan.push(Vlan {
            id: tag.vlan_identifier().value(),
            priority: tag.priority_code_point().value(),
        });
        ethernet.ethertype = tag.ether_type().0;
        rest = rest.after(TAG);
    }
    Ok((ethernet, rest, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, RECEIVER, SENDER};

    fn part(frame: &[u8]) -> Part<'_> {
        Part { bytes: frame, length: frame.len() as u32 }
    }

    #[test]
    fn addresses_and_type() {
        let frame = frames::ethernet(IPV6, b"above");
        let ethernet = Ethernet {
            source: MacAddr(SENDER.0),
            destination: MacAddr(RECEIVER.0),
            ethertype: IPV6,
            vlan: Vec::new(),
        };
        let read = read(part(&frame)).map(|(ethernet, rest, fault)| (ethernet, rest.bytes, fault));
        assert_eq!(read, Ok((ethernet, &b"above"[..], None)));
    }

    #[test]
    fn the_outer_tag_comes_first() {
        let frame = frames::tagged(&[(0x88a8, 0xe064), (0x8100, 0x00c8)], ARP, b"above");
        let read = read(part(&frame)).map(|(ethernet, rest, _)| {
            assert_eq!((rest.bytes, rest.length), (&b"above"[..], 5));
            (ethernet.ethertype, ethernet.vlan)
        });
        let tags = vec![Vlan { id: 100, priority: 7 }, Vlan { id: 200, priority: 0 }];
        assert_eq!(read, Ok((ARP, tags)));
    }

    #[test]
    fn more_tags_than_anybody_uses_are_left_alone() {
        let frame = frames::tagged(&[(0x8100, 1); 9], IPV4, &[]);
        let read = read(part(&frame))
            .map(|(ethernet, _, fault)| (ethernet.vlan.len(), ethernet.ethertype, fault));
        assert_eq!(read, Ok((4, 0x8100, None)));
    }

    #[test]
    fn a_cut_tag_leaves_what_stands_before_it() {
        let frame = frames::tagged(&[(0x88a8, 100), (0x8100, 200)], IPV4, &[]);
        for end in 0..frame.len() {
            let read = read(Part { bytes: &frame[..end], length: frame.len() as u32 });
            let read = read.map(|(ethernet, _, fault)| (ethernet.vlan.len(), fault));
            let cut = Some(Fault::Cut("vlan"));
            let expected = match end {
                ..14 => Err(Fault::Cut("ether")),
                14..18 => Ok((0, cut)),
                18.. => Ok((1, cut)),
            };
            assert_eq!(read, expected, "{end} bytes");
        }
    }
}
