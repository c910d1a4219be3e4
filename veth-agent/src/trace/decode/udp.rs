//! UDP.

use serde::Serialize;

use super::{Fault, part::Part};

const HEADER: usize = 8;

/// A UDP header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Udp {
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of whom it is for.
    pub destination_port: u16,
    /// Bytes of payload; of a GSO packet all of it.
    pub length: u32,
}

impl Udp {
    /// Whether one of its ports is `port`.
    #[must_use]
    pub const fn is_between(&self, port: u16) -> bool {
        self.source_port == port || self.destination_port == port
    }
}

/// The header, and its payload.
pub fn read(part: Part<'_>) -> Result<(Udp, Part<'_>), Fault> {
    let [a, b, c, d, e, f, _, _] = *part.head("udp")?;
    let length = match u16::from_be_bytes([e, f]) {
        // A jumbogram (RFC 2675).
        0 => part.length,
        length => u32::from(length),
    };
    let payload = length.checked_sub(8).ok_or(Fault::Bad("udp"))?;
    let udp = Udp {
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        length: payload,
    };
    Ok((udp, part.after(HEADER).limited_to(payload)))
}
