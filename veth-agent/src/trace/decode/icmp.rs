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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, RECEIVER, SENDER};

    fn read_all(message: &[u8]) -> Result<Icmp, Fault> {
        read(Part { bytes: message, length: message.len() as u32 })
    }

    fn message(kind: u8, code: u8, name: &'static str, length: u32) -> Icmp {
        Icmp { version: 4, kind, code, name: Some(name), length, ..Icmp::default() }
    }

    #[test]
    fn an_echo_has_a_number() {
        let echo = |kind| read_all(&frames::icmp(kind, 0, [1, 2, 3, 4], &[0; 56]));
        let numbers = Icmp { id: Some(0x0102), sequence: Some(0x0304), ..Icmp::default() };
        let request = message(8, 0, "echo request", 64);
        assert_eq!(echo(8), Ok(Icmp { id: numbers.id, sequence: numbers.sequence, ..request }));
        let reply = message(0, 0, "echo reply", 64);
        assert_eq!(echo(0), Ok(Icmp { id: numbers.id, sequence: numbers.sequence, ..reply }));
    }

    /// An error about UDP from port 40000 to 9.
    fn error(kind: u8, code: u8, rest: [u8; 4]) -> Result<Icmp, Fault> {
        let lost = frames::ipv4(frames::UDP, &frames::udp((40000, 9), &[]));
        read_all(&frames::icmp(kind, code, rest, &lost))
    }

    fn lost() -> Option<Quoted> {
        Some(Quoted {
            source: SENDER.1.into(),
            destination: RECEIVER.1.into(),
            protocol: 17,
            ports: Some((40000, 9)),
        })
    }

    #[test]
    fn errors_tell_what_they_are_about() {
        let unreachable = Icmp { quoted: lost(), ..message(3, 3, "port unreachable", 36) };
        assert_eq!(error(3, 3, [0; 4]), Ok(unreachable));
        let too_big = message(3, 4, "fragmentation needed", 36);
        let too_big = Icmp { quoted: lost(), mtu: Some(1400), ..too_big };
        assert_eq!(error(3, 4, [0, 0, 0x05, 0x78]), Ok(too_big));
        let target = Some(Ipv4Addr::new(192, 0, 2, 1).into());
        let redirect = Icmp { quoted: lost(), target, ..message(5, 1, "redirect", 36) };
        assert_eq!(error(5, 1, [192, 0, 2, 1]), Ok(redirect));
    }

    #[test]
    fn an_error_that_quotes_nothing_is_still_one() {
        let unreachable = message(3, 3, "port unreachable", 8);
        assert_eq!(read_all(&frames::icmp(3, 3, [0; 4], &[])), Ok(unreachable));
    }

    #[test]
    fn unknown_types_have_no_name() {
        let read = read_all(&frames::icmp(200, 7, [0; 4], &[])).map(|icmp| (icmp.kind, icmp.name));
        assert_eq!(read, Ok((200, None)));
    }

    #[test]
    fn nothing_is_read_of_half_a_header() {
        let echo = frames::icmp(8, 0, [1, 2, 3, 4], &[0; 56]);
        for end in 0..8 {
            let read = read(Part { bytes: &echo[..end], length: 64 });
            assert_eq!(read, Err(Fault::Cut("icmp")), "{end} bytes");
        }
    }
}
