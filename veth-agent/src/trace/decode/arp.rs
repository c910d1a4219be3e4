//! ARP: who has which address.

use std::net::Ipv4Addr;

use etherparse::{ArpHardwareId, ArpPacketSlice, EtherType};
use serde::Serialize;

use super::{Fault, part::Part};
use crate::types::MacAddr;

/// ARP of IPv4 over Ethernet (RFC 826).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// MAC of who sends.
    pub sender_mac: MacAddr,
    /// Address of who sends.
    pub sender: Ipv4Addr,
    /// MAC of who is asked for or answered.
    pub target_mac: MacAddr,
    /// Address that is asked for or answered.
    pub target: Ipv4Addr,
}

/// `None` for ARP of other addresses.
pub fn read(part: Part<'_>) -> Result<Option<Arp>, Fault> {
    let arp = ArpPacketSlice::from_slice(part.bytes).map_err(|_| part.short("arp"))?;
    let known =
        arp.hw_addr_type() == ArpHardwareId::ETHERNET && arp.proto_addr_type() == EtherType::IPV4;
    if !known {
        return Ok(None);
    }
    let mac = |bytes: &[u8]| bytes.try_into().map(MacAddr).map_err(|_| Fault::Bad("arp"));
    let address = |bytes: &[u8]| {
        <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).map_err(|_| Fault::Bad("arp"))
    };
    Ok(Some(Arp {
        operation: arp.operation().0,
        sender_mac: mac(arp.sender_hw_addr())?,
        sender: address(arp.sender_protocol_addr())?,
        target_mac: mac(arp.target_hw_addr())?,
        target: address(arp.target_protocol_addr())?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, RECEIVER, SENDER};

    fn read_all(bytes: &[u8]) -> Result<Option<Arp>, Fault> {
        read(Part { bytes, length: bytes.len() as u32 })
    }

    #[test]
    fn a_reply_tells_who_has_the_address() {
        let arp = Arp {
            operation: 2,
            sender_mac: MacAddr(SENDER.0),
            sender: SENDER.1.into(),
            target_mac: MacAddr(RECEIVER.0),
            target: RECEIVER.1.into(),
        };
        assert_eq!(read_all(&frames::arp(2)), Ok(Some(arp)));
    }

    #[test]
    fn addresses_of_other_kinds_are_not_read() {
        let mut infiniband = frames::arp(1);
        infiniband[1] = 32;
        assert_eq!(read_all(&infiniband), Ok(None));
        let mut chaos = frames::arp(1);
        chaos[2..4].copy_from_slice(&[0x08, 0x04]);
        assert_eq!(read_all(&chaos), Ok(None));
    }

    #[test]
    fn addresses_of_another_size_than_their_kind_has_are_bad() {
        for (at, size) in [(4, 5), (4, 0), (5, 3), (5, 0)] {
            let mut arp = frames::arp(1);
            arp[at] = size;
            assert_eq!(read_all(&arp), Err(Fault::Bad("arp")), "byte {at} is {size}");
        }
    }

    #[test]
    fn nothing_is_read_of_half_a_message() {
        let arp = frames::arp(1);
        for end in 0..arp.len() {
            assert_eq!(read(Part { bytes: &arp[..end], length: 28 }), Err(Fault::Cut("arp")));
            assert_eq!(read_all(&arp[..end]), Err(Fault::Bad("arp")), "{end} bytes");
        }
    }
}
