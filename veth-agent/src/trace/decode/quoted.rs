//! The packet that an ICMP error is about, of which it quotes the beginning.

use std::net::IpAddr;

use serde::Serialize;

use super::{ip, part::Part, protocol};

/// The packet that an ICMP error is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quoted {
    /// Who sent it.
    pub source: IpAddr,
    /// For whom it was.
    pub destination: IpAddr,
    /// What it carried.
    pub protocol: u8,
    /// Source and destination port, of protocols that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<(u16, u16)>,
}

/// `None` where too little of it was captured, or it is no IP packet.
pub fn read(part: Part<'_>) -> Option<Quoted> {
    let (ip, payload) = ip::read(part).ok()?;
    let has_ports = matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let ports = payload.bytes.first_chunk().filter(|_| has_ports && ip.begins());
    Some(Quoted {
        source: ip.source,
        destination: ip.destination,
        protocol: ip.protocol,
        ports: ports.map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
    })
}
