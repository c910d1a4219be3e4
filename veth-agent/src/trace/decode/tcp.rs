//! TCP.

use std::fmt;

use etherparse::{TcpHeaderSlice, TcpOptionElement, TcpOptionsIterator, err};
use serde::{Serialize, Serializer};

use super::{Fault, part::Part};

/// A TCP header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tcp {
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of whom it is for.
    pub destination_port: u16,
    /// Flags.
    pub flags: TcpFlags,
    /// Number of the first byte of payload, as it stands in the header.
    pub sequence: u32,
    /// Number of the byte that is expected next, as it stands in the header.
    pub acknowledgment: u32,
    /// As it stands in the header, not scaled.
    pub window: u16,
    /// Bytes of payload; of a GSO packet all of it.
    pub length: u32,
    /// Options.
    #[serde(skip_serializing_if = "TcpOptions::is_empty")]
    pub options: TcpOptions,
}

/// Flags of TCP: the octet of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

/// The options that explain what a connection does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpOptions {
    /// Largest segment that the sender takes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mss: Option<u16>,
    /// By how many bits windows of the sender are to be shifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_scale: Option<u8>,
    /// Whether the sender understands selective acknowledgements.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sack_permitted: bool,
    /// What has arrived beyond the acknowledgement: first byte, and the one behind the last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sack: Vec<(u32, u32)>,
    /// Time stamp, and the one that it echoes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<(u32, u32)>,
}

/// In the order of their bits: name, and letter of `tcpdump`.
const FLAGS: [(&str, char); 8] = [
    ("fin", 'F'),
    ("syn", 'S'),
    ("rst", 'R'),
    ("psh", 'P'),
    ("ack", '.'),
    ("urg", 'U'),
    ("ece", 'E'),
    ("cwr", 'W'),
];

impl TcpFlags {
    /// Whether one of FIN, SYN and RST is set, which take a sequence number without payload.
    #[must_use]
    pub const fn control(self) -> bool {
        self.0 & 0b111 != 0
    }

    /// Whether the acknowledgement number means something.
    #[must_use]
    pub const fn ack(self) -> bool {
        self.0 & 0b1_0000 != 0
    }

    fn set(self) -> impl Iterator<Item = &'static (&'static str, char)> {
        (0..).zip(&FLAGS).filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, flag)| flag)
    }
}

impl fmt::Display for TcpFlags {
    /// As `tcpdump` shows them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        self.set().try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.set().map(|(name, _)| name))
    }
}

impl TcpOptions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn take(&mut self, option: TcpOptionElement) {
        match option {
            TcpOptionElement::MaximumSegmentSize(mss) => self.mss = Some(mss),
            TcpOptionElement::WindowScale(scale) => self.window_scale = Some(scale),
            TcpOptionElement::SelectiveAcknowledgementPermitted => self.sack_permitted = true,
            TcpOptionElement::SelectiveAcknowledgement(first, rest) => {
                self.sack = std::iter::once(first).chain(rest.into_iter().flatten()).collect();
            }
            TcpOptionElement::Timestamp(own, echo) => self.timestamps = Some((own, echo)),
            TcpOptionElement::Noop => {}
        }
    }
}

/// Bytes of a header without options.
const PLAIN: usize = 20;

/// The header, and the fault where its options were cut off, or cannot be where it says.
pub fn read(part: Part<'_>) -> Result<(Tcp, Option<Fault>), Fault> {
    match TcpHeaderSlice::from_slice(part.bytes) {
        Ok(header) => Ok((tcp(&header, part.after(header.slice().len()).length), None)),
        Err(err::tcp::HeaderSliceError::Content(_)) => without_options(part, Fault::Bad("tcp")),
        Err(err::tcp::HeaderSliceError::Len(_)) => without_options(part, part.short("tcp")),
    }
}

fn without_options(part: Part<'_>, fault: Fault) -> Result<(Tcp, Option<Fault>), Fault> {
    let mut plain = *part.head::<PLAIN>("tcp")?;
    let size = PLAIN.max(usize::from(plain[12] >> 4) * 4);
    plain[12] = 5 << 4;
    let header = TcpHeaderSlice::from_slice(&plain).map_err(|_| fault)?;
    Ok((tcp(&header, part.after(size).length), Some(fault)))
}

fn tcp(header: &TcpHeaderSlice<'_>, length: u32) -> Tcp {
    Tcp {
        source_port: header.source_port(),
        destination_port: header.destination_port(),
        flags: TcpFlags(header.slice().get(13).copied().unwrap_or_default()),
        sequence: header.sequence_number(),
        acknowledgment: header.acknowledgment_number(),
        window: header.window_size(),
        length,
        options: options(header.options()),
    }
}

/// The crate's iterator ends at the first kind that it does not know, so each option gets one of its own.
fn options(mut bytes: &[u8]) -> TcpOptions {
    let mut options = TcpOptions::default();
    loop {
        bytes = match *bytes {
            [1, ref rest @ ..] => rest,
            [kind, length, ..] if kind > 1 && length >= 2 => {
                let Some((option, rest)) = bytes.split_at_checked(length.into()) else { break };
                let known = TcpOptionsIterator::from_slice(option).next().and_then(Result::ok);
                known.into_iter().for_each(|option| options.take(option));
                rest
            }
            _ => break,
        };
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::frames::{self, TCP_OFFER, TCP_SACK};

    fn read_all(bytes: &[u8]) -> Result<(Tcp, Option<Fault>), Fault> {
        read(Part { bytes, length: bytes.len() as u32 })
    }

    fn plain(flags: u8) -> Tcp {
        Tcp {
            source_port: 40000,
            destination_port: 80,
            flags: TcpFlags(flags),
            sequence: 1000,
            acknowledgment: 2000,
            window: 512,
            length: 5,
            options: TcpOptions::default(),
        }
    }

    #[test]
    fn a_plain_header() {
        assert_eq!(read_all(&frames::tcp(0x18, &[], b"above")), Ok((plain(0x18), None)));
    }

    fn options_of(bytes: &[u8]) -> Option<TcpOptions> {
        read_all(&frames::tcp(0x10, bytes, b"")).ok().map(|(tcp, _)| tcp.options)
    }

    #[test]
    fn what_a_client_offers() {
        let offer = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            sack: Vec::new(),
            timestamps: Some((7, 0)),
        };
        assert_eq!(options_of(&TCP_OFFER), Some(offer));
    }

    #[test]
    fn every_block_that_has_arrived() {
        let one = TcpOptions { sack: vec![(3000, 4000)], ..TcpOptions::default() };
        assert_eq!(options_of(&TCP_SACK), Some(one));
        let mut four = vec![1, 1, 5, 34];
        (1..=8_u32).for_each(|edge| four.extend(edge.to_be_bytes()));
        let blocks = options_of(&four).map(|options| options.sack);
        assert_eq!(blocks, Some(vec![(1, 2), (3, 4), (5, 6), (7, 8)]));
    }

    #[test]
    fn unknown_options_hide_none_behind_them() {
        let md5 = [&[19, 18][..], &[0; 16], &[2, 4, 5, 0xb4, 0, 0]].concat();
        let known = TcpOptions { mss: Some(1460), ..TcpOptions::default() };
        assert_eq!(options_of(&md5), Some(known));
    }

    #[test]
    fn options_that_contradict_themselves_end_the_list() {
        for bad in [[8, 0, 2, 4], [8, 1, 2, 4], [8, 40, 2, 4], [1, 1, 1, 8], [0, 2, 4, 5]] {
            assert_eq!(options_of(&bad), Some(TcpOptions::default()), "{bad:?}");
        }
        let wrong_size = [2, 3, 5, 1, 3, 3, 7, 0];
        let known = TcpOptions { window_scale: Some(7), ..TcpOptions::default() };
        assert_eq!(options_of(&wrong_size), Some(known));
    }

    #[test]
    fn cut_options_leave_the_header() {
        let segment = frames::tcp(0x10, &TCP_OFFER, b"above");
        for end in 0..40 {
            let read = read(Part { bytes: &segment[..end], length: 45 });
            let cut = Fault::Cut("tcp");
            let expected = if end < 20 { Err(cut) } else { Ok((plain(0x10), Some(cut))) };
            assert_eq!(read, expected, "{end} bytes");
        }
    }

    #[test]
    fn an_impossible_size_of_the_header_is_bad_and_leaves_the_rest() {
        let mut segment = frames::tcp(0x10, &[], b"above");
        segment[12] = 0x40;
        assert_eq!(read_all(&segment), Ok((plain(0x10), Some(Fault::Bad("tcp")))), "16 bytes");
        segment[12] = 0xf0;
        let none = Tcp { length: 0, ..plain(0x10) };
        assert_eq!(read_all(&segment), Ok((none, Some(Fault::Bad("tcp")))), "60 bytes");
    }

    #[test]
    fn flags_as_tcpdump_and_as_programs_have_them() {
        let all = TcpFlags(0xff);
        assert_eq!(all.to_string(), "FSRP.UEW");
        let names = serde_json::to_string(&all).ok();
        let expected = r#"["fin","syn","rst","psh","ack","urg","ece","cwr"]"#;
        assert_eq!(names.as_deref(), Some(expected));
        assert_eq!(TcpFlags(0).to_string(), "none");
        assert!(TcpFlags(0x12).control() && TcpFlags(0x12).ack());
        assert!(!TcpFlags(0x18).control() && !TcpFlags(0x02).ack());
    }
}
