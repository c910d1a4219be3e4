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
    let arp = ArpPacketSlice::from_slice(part.bytes).map_err(|_| Fault::Cut("arp"))?;
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
