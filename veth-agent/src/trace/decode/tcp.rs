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

/// The header, and the fault where its options were cut off.
pub fn read(part: Part<'_>) -> Result<(Tcp, Option<Fault>), Fault> {
    match TcpHeaderSlice::from_slice(part.bytes) {
        Ok(header) => Ok((tcp(&header, part.after(header.slice().len()).length), None)),
        Err(err::tcp::HeaderSliceError::Content(_)) => Err(Fault::Bad("tcp")),
        Err(err::tcp::HeaderSliceError::Len(_)) => without_options(part),
    }
}

fn without_options(part: Part<'_>) -> Result<(Tcp, Option<Fault>), Fault> {
    let cut = Fault::Cut("tcp");
    let mut plain = *part.head::<PLAIN>("tcp")?;
    let size = usize::from(plain[12] >> 4) * 4;
    plain[12] = 5 << 4;
    let header = TcpHeaderSlice::from_slice(&plain).map_err(|_| cut)?;
    Ok((tcp(&header, part.after(size).length), Some(cut)))
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
