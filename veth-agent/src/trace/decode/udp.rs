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

/// The header, its payload, and the fault where it promises what is not possible: `whole` if `part` is no fragment.
pub fn read(part: Part<'_>, whole: bool) -> Result<(Udp, Part<'_>, Option<Fault>), Fault> {
    let [a, b, c, d, e, f, _, _] = *part.head("udp")?;
    let length = match u16::from_be_bytes([e, f]) {
        // A jumbogram (RFC 2675).
        0 if part.length > u16::MAX.into() => part.length,
        length => u32::from(length),
    };
    let possible = length >= 8 && !(whole && length > part.length);
    let payload = length.saturating_sub(8);
    let udp = Udp {
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        length: payload,
    };
    let fault = (!possible).then_some(Fault::Bad("udp"));
    Ok((udp, part.after(HEADER).limited_to(payload), fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames;

    /// Length of the payload, the payload and the fault.
    fn read_field(length: u16, whole: bool) -> Result<(u32, usize, Option<Fault>), Fault> {
        let mut datagram = frames::udp((40000, 9), b"above");
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        let part = Part { bytes: &datagram, length: 13 };
        read(part, whole).map(|(udp, data, fault)| (udp.length, data.bytes.len(), fault))
    }

    #[test]
    fn ports_and_payload() {
        let datagram = frames::udp((40000, 9), b"above");
        let read = read(Part { bytes: &datagram, length: 13 }, true);
        let udp = Udp { source_port: 40000, destination_port: 9, length: 5 };
        let read = read.map(|(udp, data, fault)| (udp, data.bytes, fault));
        assert_eq!(read, Ok((udp, &b"above"[..], None)));
        assert_eq!(read_field(8, true), Ok((0, 0, None)), "none at all");
        assert_eq!(read_field(12, true), Ok((4, 4, None)), "less than IP carries");
    }

    #[test]
    fn impossible_lengths_are_bad_and_leave_the_ports() {
        let bad = Some(Fault::Bad("udp"));
        assert_eq!(read_field(7, true), Ok((0, 0, bad)), "less than the header");
        assert_eq!(read_field(0, true), Ok((0, 0, bad)), "no jumbogram");
        assert_eq!(read_field(14, true), Ok((6, 5, bad)), "more than IP carries");
        assert_eq!(read_field(14, false), Ok((6, 5, None)), "other fragments carry it");
    }

    #[test]
    fn zero_is_the_length_of_a_jumbogram() {
        let mut datagram = frames::udp((40000, 9), &[0; 16]);
        datagram[4..6].copy_from_slice(&[0, 0]);
        let read = read(Part { bytes: &datagram, length: 70_008 }, true);
        assert_eq!(read.map(|(udp, _, fault)| (udp.length, fault)), Ok((70_000, None)));
    }

    #[test]
    fn nothing_is_read_of_half_a_header() {
        let datagram = frames::udp((40000, 9), b"above");
        for end in 0..8 {
            let cut = Part { bytes: &datagram[..end], length: 13 };
            assert_eq!(read(cut, true).map(drop), Err(Fault::Cut("udp")), "{end} bytes");
            let short = Part { bytes: &datagram[..end], length: end as u32 };
            assert_eq!(read(short, true).map(drop), Err(Fault::Bad("udp")), "{end} bytes");
        }
    }
}
