//! ICMP, and what it has in common with ICMPv6.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::{Fault, Quoted, part::Part, quoted};
use crate::types::MacAddr;

/// Bytes before what depends on the type.
pub const HEADER: usize = 8;

/// A message of ICMP or ICMPv6. What its type does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Icmp {
    /// 4 or 6: whose numbers `type` and `code` are.
    pub version: u8,
    /// Type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// What type and code mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
    /// Bytes of the message, its header included.
    pub length: u32,
    /// Identifier of an echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// Number of an echo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u16>,
    /// What the next hop takes, in bytes; of a router advertisement, what the link does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whose MAC is asked or told, or by whom to send from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<IpAddr>,
    /// The MAC that is told: of who asks, or of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// What an error is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
}

pub fn read(part: Part<'_>) -> Result<Icmp, Fault> {
    let [kind, code, _, _, a, b, c, d] = *part.head("icmp")?;
    let name = name(kind, code);
    let mut icmp = Icmp { version: 4, kind, code, name, length: part.length, ..Icmp::default() };
    match kind {
        0 | 8 => icmp.echo([a, b, c, d]),
        3 | 4 | 5 | 11 | 12 => icmp.quoted = quoted::read(part.after(HEADER)),
        _ => {}
    }
    match (kind, code) {
        (3, 4) => icmp.mtu = Some(u16::from_be_bytes([c, d]).into()),
        (5, _) => icmp.target = Some(Ipv4Addr::from([a, b, c, d]).into()),
        _ => {}
    }
    Ok(icmp)
}

impl Icmp {
    /// Takes in the second four bytes of an echo.
    pub fn echo(&mut self, [a, b, c, d]: [u8; 4]) {
        self.id = Some(u16::from_be_bytes([a, b]));
        self.sequence = Some(u16::from_be_bytes([c, d]));
    }
}

/// <https://www.iana.org/assignments/icmp-parameters>
const fn name(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (0, _) => "echo reply",
        (3, 0) => "net unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 9 | 10 | 13) => "unreachable, admin prohibited",
        (3, _) => "unreachable",
        (4, _) => "source quench",
        (5, _) => "redirect",
        (8, _) => "echo request",
        (9, _) => "router advertisement",
        (10, _) => "router solicitation",
        (11, 1) => "reassembly time exceeded",
        (11, _) => "time exceeded in transit",
        (12, _) => "parameter problem",
        (13, _) => "timestamp request",
        (14, _) => "timestamp reply",
        _ => return None,
    })
}
