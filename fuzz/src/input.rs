//! From a fuzzer's bytes to a sighting.

use veth_agent::trace::{Direction, EndName, Process, Sighting, Verdict};

use crate::{SINCE, TIME};

/// Bytes before the names.
const HEADER: usize = 8;

/// Among the bits of the first byte.
const END: u8 = 1 << 4;
const PEER: u8 = 1 << 5;
const PROCESS: u8 = 1 << 6;
const FOLLOWED: u8 = 1 << 7;

/// From so many segments on, a packet is said to have had no Ethernet header.
const BARE: u32 = 128;

/// A packet, how it was seen and how it is printed, as the bytes of an input say it:
///
/// | byte | |
/// |---|---|
/// | 0 | bits 0 and 1 direction, 2 and 3 verdict, 4 to 7 whether end, peer, process and number are known |
/// | 1 | length of the names |
/// | 2 | segments; from 128 on, the Ethernet header is made up, too |
/// | 3 | where the frame is cut once more, in 255ths |
/// | 4, 5 | bytes of the frame that were not captured; 0xffff: the frame is said to be shorter than what was |
/// | 6, 7 | bytes of a frame that go into a file, from 14 on |
/// | 8.. | what names, reason, place and process are called; then the frame |
pub struct Input<'a> {
    shape: u8,
    segments: u32,
    missing: u16,
    name: String,
    frame: &'a [u8],
    /// How much of the frame is left when it is cut once more, in 255ths.
    pub cut: u8,
    /// Bytes of a frame that go into a file.
    pub snaplen: u32,
}

/// The input of a plain frame, of which `missing` further bytes were not captured.
#[must_use]
pub fn input(frame: &[u8], missing: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(missing).unwrap_or(u16::MAX - 1).to_be_bytes();
    let mut bytes = vec![END | 1, 2, 1, 0x80, high, low, 0, 114];
    bytes.extend(b"ns");
    bytes.extend(frame);
    bytes
}

impl<'a> Input<'a> {
    /// What `bytes` say; those that are not there are zero.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut header = [0; HEADER];
        header.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let [shape, names, segments, cut, a, b, c, d] = header;
        let rest = bytes.get(HEADER..).unwrap_or_default();
        let (name, frame) = rest.split_at(rest.len().min(names.into()));
        Self {
            shape,
            segments: segments.into(),
            missing: u16::from_be_bytes([a, b]),
            name: String::from_utf8_lossy(name).into_owned(),
            frame,
            cut,
            snaplen: 14 + u32::from(u16::from_be_bytes([c, d])),
        }
    }

    fn is(&self, bit: u8) -> bool {
        self.shape & bit != 0
    }

    /// Of the frame, as its end had it.
    fn length(&self) -> u32 {
        let captured = self.frame.len() as u32;
        match self.missing {
            u16::MAX => captured / 2,
            missing => captured + u32::from(missing),
        }
    }

    /// Calls `look` with the packet.
    pub fn with_sighting(&self, look: impl FnOnce(&Sighting<'_>)) {
        let end = EndName { netns: self.name.clone(), interface: self.name.clone() };
        let process = Process { pid: 7, name: self.name.clone() };
        look(&Sighting {
            time: TIME,
            packet: 0xffff_8880_0000_0000,
            packet_id: self.is(FOLLOWED).then_some(3),
            since: (self.is(FOLLOWED) && self.is(PEER)).then_some(SINCE),
            end: self.is(END).then_some(&end),
            peer: self.is(PEER).then_some(&end),
            direction: [None, Some(Direction::In), Some(Direction::Out), None]
                [usize::from(self.shape & 3)],
            verdict: [None, Some(Verdict::Pass), Some(Verdict::Redirect), Some(Verdict::Drop)]
                [usize::from(self.shape >> 2 & 3)],
            reason: self.is(END).then_some(&self.name),
            place: self.is(PEER).then_some(&self.name),
            length: self.length(),
            segments: self.segments,
            gso_size: (self.segments > 1).then_some(1448),
            mtu: self.is(PEER).then_some(1500),
            mark: self.segments,
            process: self.is(PROCESS).then_some(&process),
            bare: self.segments >= BARE,
            frame: self.frame,
        });
    }
}
