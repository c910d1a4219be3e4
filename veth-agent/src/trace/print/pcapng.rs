//! A capture file in pcapng: draft-ietf-opsawg-pcapng.

use std::collections::HashMap;

use super::{
    super::{Direction, EndName, Sighting},
    outcome,
};
use crate::escape::Escaped;

/// The kinds of block.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;

/// Codes of options: of every block, of a section, of an interface, of a packet.
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
const PACKET_ID: u16 = 5;

/// Of names and comments, in bytes: far more than the kernel's, far less than a length field holds.
const MAX_TEXT: usize = 1024;

/// A capture file that is being written. Interfaces that are not known at its beginning get their blocks when
/// they first appear.
#[derive(Debug)]
pub struct PcapNg {
    snaplen: u32,
    interfaces: HashMap<Option<EndName>, u32>,
    /// The one that was asked for last: packets come in rows.
    last: Option<(Option<EndName>, u32)>,
}

impl PcapNg {
    /// A file of packets of which at most `snaplen` bytes are kept.
    #[must_use]
    pub fn new(snaplen: u32) -> Self {
        Self { snaplen, interfaces: HashMap::new(), last: None }
    }

    /// The blocks that begin the file; readers refuse one without an interface.
    pub(super) fn begin<'a>(&mut self, ends: impl Iterator<Item = &'a EndName>) -> Vec<u8> {
        let mut out = Self::header();
        ends.for_each(|end| _ = self.interface(Some(end), &mut out));
        out
    }

    fn header() -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // Its length is not known yet.
        body.extend((-1_i64).to_le_bytes());
        let name = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
        option(APPLICATION, name.as_bytes(), &mut body);
        end_of_options(&mut body);
        let mut out = Vec::new();
        block(SECTION, &body, &mut out);
        out
    }

    /// Appends the block of a packet, and before it that of its interface where this is new.
    pub(super) fn packet(&mut self, sighting: &Sighting<'_>, out: &mut Vec<u8>) {
        let interface = self.interface(sighting.end, out);
        let kept = usize::try_from(self.snaplen).unwrap_or(usize::MAX);
        let frame = sighting.frame.get(..kept).unwrap_or(sighting.frame);
        let captured = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let time = u64::try_from(sighting.time.as_nanos()).unwrap_or(u64::MAX);
        let halves = [time >> 32, time & 0xffff_ffff].map(|half| half as u32);
        let begin = begin_block(PACKET, out);
        for word in [interface, halves[0], halves[1], captured, sighting.length.max(captured)] {
            out.extend(word.to_le_bytes());
        }
        padded(frame, out);
        packet_options(sighting, out);
        end_block(begin, out);
    }

    fn interface(&mut self, end: Option<&EndName>, out: &mut Vec<u8>) -> u32 {
        if let Some((last, number)) = &self.last
            && last.as_ref() == end
        {
            return *number;
        }
        let end = end.cloned();
        let number = match self.interfaces.get(&end) {
            Some(known) => *known,
            None => self.describe(end.clone(), out),
        };
        self.last = Some((end, number));
        number
    }

    /// Appends the block of an interface.
    fn describe(&mut self, end: Option<EndName>, out: &mut Vec<u8>) -> u32 {
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        body.extend(u32::from(ETHERNET).to_le_bytes());
        body.extend(self.snaplen.to_le_bytes());
        let name = end.as_ref().map_or_else(|| "?".to_owned(), EndName::to_string);
        option(NAME, limited(&Escaped(&name).to_string()), &mut body);
        // Of seconds, 10 to the power of -9.
        option(TIME_RESOLUTION, &[9], &mut body);
        end_of_options(&mut body);
        block(INTERFACE, &body, out);
        self.interfaces.insert(end, number);
        number
    }
}

fn packet_options(sighting: &Sighting<'_>, body: &mut Vec<u8>) {
    let begin = body.len();
    if let Some(outcome) = outcome(sighting) {
        option(COMMENT, limited(&outcome), body);
    }
    if let Some(direction) = sighting.direction {
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        option(FLAGS, &flags.to_le_bytes(), body);
    }
    if let Some(id) = sighting.packet_id {
        option(PACKET_ID, &id.to_le_bytes(), body);
    }
    if body.len() > begin {
        end_of_options(body);
    }
}

/// The longest beginning of `text` that is allowed and ends with a whole character.
fn limited(text: &str) -> &[u8] {
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(text).as_bytes()
}

fn option(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    padded(value, out);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

/// `bytes`, and zeros up to the next multiple of four.
fn padded(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(bytes);
    out.extend(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()]);
}

/// A block: its kind, its length, its body, its length again.
fn block(kind: u32, body: &[u8], out: &mut Vec<u8>) {
    let begin = begin_block(kind, out);
    out.extend(body);
    end_block(begin, out);
}

/// Where the block begins, whose length is not known yet.
fn begin_block(kind: u32, out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    begin
}

fn end_block(begin: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(out.len() - begin + 4).unwrap_or(u32::MAX).to_le_bytes();
    if let Some(place) = out.get_mut(begin + 4..begin + 8) {
        place.copy_from_slice(&length);
    }
    out.extend(length);
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Printer, sample},
        *,
    };

    fn file(snaplen: u32, sightings: &[Sighting<'_>]) -> Vec<u8> {
        sample::printed(Printer::pcapng(PcapNg::new(snaplen)), sightings)
    }

    /// The bytes of words and texts.
    fn bytes(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn a_file_begins_with_a_section() {
        let name = concat!("veth-agent ", env!("CARGO_PKG_VERSION"));
        let mut option = bytes(&[&[4, 0, name.len() as u8, 0], name.as_bytes()]);
        option.resize(option.len().next_multiple_of(4), 0);
        let length = (12 + 16 + option.len() as u32 + 4).to_le_bytes();
        let section = bytes(&[
            &[0x0a, 0x0d, 0x0d, 0x0a],
            &length,
            &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0],
            &[0xff; 8],
            &option,
            &[0; 4],
            &length,
        ]);
        assert_eq!(file(128, &[]), section);
    }

    /// What stands behind the section.
    fn blocks(snaplen: u32, sightings: &[Sighting<'_>]) -> Vec<u8> {
        file(snaplen, sightings).split_off(file(snaplen, &[]).len())
    }

    const TAP1: &[u8] = &[
        1, 0, 0, 0, 44, 0, 0, 0, // Interface description.
        1, 0, 0, 0, 16, 0, 0, 0, // Ethernet, of which 16 bytes are kept.
        2, 0, 8, 0, b'o', b'r', b'a', b'n', b'g', b'e', b'/', b'a', // Name.
        9, 0, 1, 0, 9, 0, 0, 0, // Nanoseconds.
        0, 0, 0, 0, 44, 0, 0, 0,
    ];

    #[test]
    fn an_interface_comes_before_its_first_packet() {
        let (end, frame) = (sample::end("a"), [7; 17]);
        let packet: &[u8] = &[
            6, 0, 0, 0, 60, 0, 0, 0, // Enhanced packet.
            0, 0, 0, 0, // The first interface.
            0xfe, 0x9c, 0x97, 0x17, 0x07, 0x00, 0x2a,
            0x36, // 1700000000000000007 ns: high, low.
            16, 0, 0, 0, 17, 0, 0, 0, // Kept, and sent.
            7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // The frame.
            2, 0, 4, 0, 2, 0, 0, 0, // Outbound.
            0, 0, 0, 0, 60, 0, 0, 0,
        ];
        let sighting = sample::outgoing(&end, &frame);
        let twice = [sighting.clone(), sighting];
        assert_eq!(blocks(16, &twice), bytes(&[TAP1, packet, packet]));
    }

    #[test]
    fn a_drop_is_a_comment_and_an_odd_frame_is_padded() {
        let end = sample::end("a");
        let packet: &[u8] = &[
            6, 0, 0, 0, 92, 0, 0, 0, 0, 0, 0, 0, // Enhanced packet of the first interface.
            0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, // Time, kept, and sent.
            7, 7, 7, 7, 7, 0, 0, 0, // The frame.
            1, 0, 30, 0, // Comment.
        ];
        let comment = b"drop no_socket at udp_rcv+0x1f\0\0";
        let number: &[u8] = &[
            5, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, // Number of the packet.
            0, 0, 0, 0, 92, 0, 0, 0,
        ];
        let packet = bytes(&[packet, comment, number]);
        let sighting =
            Sighting { time: std::time::Duration::ZERO, ..sample::dropped(Some(&end), &[7; 5]) };
        assert_eq!(blocks(16, &[sighting]), bytes(&[TAP1, &packet]));
    }

    #[test]
    fn each_end_has_an_interface_and_nowhere_has_one_too() {
        let (a, b) = (sample::end("a"), sample::end("b"));
        let all = [
            sample::outgoing(&a, &[]),
            sample::outgoing(&b, &[]),
            sample::dropped(None, &[]),
            sample::outgoing(&a, &[]),
        ];
        let mut rest = &blocks(16, &all)[..];
        let mut kinds = Vec::new();
        while let Some(&[kind, _, _, _, length, _, _, _, interface, ..]) = rest.first_chunk::<12>()
        {
            kinds.push((u32::from(kind), if kind == 6 { Some(interface) } else { None }));
            rest = &rest[usize::from(length)..];
        }
        let (interface, packet) = ((INTERFACE, None), |number| (PACKET, Some(number)));
        let expected =
            [interface, packet(0), interface, packet(1), interface, packet(2), packet(0)];
        assert_eq!(kinds, expected);
        assert!(rest.is_empty());
    }

    #[test]
    fn a_text_that_is_too_long_ends_with_a_whole_character() {
        let long = "ä".repeat(600);
        assert_eq!(limited(&long).len(), 1024);
        let odd = format!("x{long}");
        assert_eq!(limited(&odd).len(), 1023);
        assert_eq!(limited("short"), b"short");
    }

    #[test]
    fn a_packet_is_never_shorter_than_what_is_kept_of_it() {
        let end = sample::end("a");
        let sighting = Sighting { length: 3, ..sample::outgoing(&end, &[7; 8]) };
        let blocks = blocks(16, &[sighting]);
        let lengths = &blocks[TAP1.len() + 20..][..8];
        assert_eq!(lengths, [8, 0, 0, 0, 8, 0, 0, 0]);
    }
}
