//! Capture files, read back block by block (draft-ietf-opsawg-pcapng).

use veth_agent::trace::{PcapNg, Printer, Sighting, Verdict};

use crate::{TIME, harmless::is_harmless, printed};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

pub fn check(sighting: &Sighting<'_>, snaplen: u32) {
    let print = |end| printed(Printer::pcapng(PcapNg::new(snaplen)), end, &[sighting, sighting]);
    let file = print(None);
    assert_eq!(print(sighting.end), file, "an interface that is known before has one block, too");
    let blocks = blocks(&file);
    let kinds: Vec<_> = blocks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [SECTION, INTERFACE, PACKET, PACKET], "an interface has one block");
    section(blocks[0].1);
    interface(blocks[1].1, sighting, snaplen);
    packet(blocks[2].1, sighting, snaplen);
    assert_eq!(blocks[2], blocks[3]);
}

/// Kind and body of each block; the file is made of nothing else.
fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let size = word(file, 4) as usize;
        assert!(
            size.is_multiple_of(4) && size >= 12 && size <= file.len(),
            "a block of {size} bytes"
        );
        let (block, rest) = file.split_at(size);
        assert_eq!(word(block, size - 4) as usize, size, "both lengths are the same");
        blocks.push((word(block, 0), &block[8..size - 4]));
        file = rest;
    }
    blocks
}

fn section(body: &[u8]) {
    assert_eq!(word(body, 0), 0x1a2b_3c4d, "byte order");
    assert_eq!(word(body, 4), 1, "version 1.0");
    assert_eq!(body[8..16], [0xff; 8], "length not known");
    let options = options(&body[16..]);
    assert!(options[0].0 == 4 && options[0].1.starts_with(b"veth-agent "), "{options:?}");
}

fn interface(body: &[u8], sighting: &Sighting<'_>, snaplen: u32) {
    assert_eq!(word(body, 0), 1, "Ethernet");
    assert_eq!(word(body, 4), snaplen);
    let options = options(&body[8..]);
    let codes: Vec<_> = options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [2, 9], "name and resolution of times");
    let name = text(options[0].1);
    assert_eq!(name == "?", sighting.end.is_none(), "{name}");
    assert_eq!(options[1].1, [9], "nanoseconds");
}

fn packet(body: &[u8], sighting: &Sighting<'_>, snaplen: u32) {
    let kept = sighting.frame.len().min(snaplen as usize);
    assert_eq!(word(body, 0), 0, "the only interface");
    let time = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
    assert_eq!(u128::from(time), TIME.as_nanos());
    assert_eq!(word(body, 12) as usize, kept);
    assert!(word(body, 16) >= word(body, 12), "no packet is shorter than what is kept of it");
    assert!(word(body, 16) >= sighting.length);
    let data = &body[20..];
    assert_eq!(data[..kept], sighting.frame[..kept]);
    let padded = kept.next_multiple_of(4);
    assert!(data[kept..padded].iter().all(|byte| *byte == 0), "padding is zero");
    let options = options(&data[padded..]);
    let value = |code| options.iter().find(|(it, _)| *it == code).map(|(_, value)| *value);
    let comment = value(1).map(text);
    assert_eq!(comment.is_some(), sighting.verdict.is_some());
    let is_drop = comment.is_some_and(|comment| comment.starts_with("drop"));
    assert_eq!(is_drop, sighting.verdict == Some(Verdict::Drop));
    assert_eq!(value(2).is_some(), sighting.direction.is_some());
    let id = sighting.packet_id.map(u64::to_le_bytes);
    assert_eq!(value(5), id.as_ref().map(|id| &id[..]));
}

/// Code and value of each option, up to the one that ends them. There may be none at all.
fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let [code, size] = [0, 2].map(|at| u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let end = 4 + usize::from(size);
        let padded = end.next_multiple_of(4);
        assert!(bytes[end..padded].iter().all(|byte| *byte == 0), "padding is zero");
        if code == 0 {
            assert_eq!((size, bytes.len()), (0, 4), "the end is the end");
            return options;
        }
        options.push((code, &bytes[4..end]));
        bytes = &bytes[padded..];
    }
    assert!(options.is_empty(), "options that do not end");
    options
}

/// Comments and names are shown by other programs, which may trust them.
fn text(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).unwrap_or("\n");
    assert!(text.chars().all(is_harmless), "{text:?}");
    text
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
    assert!(word.is_some(), "the block ends before byte {at}");
    u32::from_le_bytes(word.unwrap_or_default())
}
