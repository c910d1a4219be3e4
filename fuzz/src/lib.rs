//! What must hold for the decoder and the printers of a trace, whatever a frame holds: [`check`]. The fuzzer
//! calls it with what it makes up, and the tests with what it once found.

mod decoded;
#[path = "../../veth-agent/src/trace/frames.rs"]
#[expect(missing_docs, reason = "it is a test's elsewhere")]
pub mod frames;
mod harmless;
mod input;
mod json;
mod pcapng;
mod prefix;
mod text;

use std::time::Duration;

use veth_agent::trace::{EndName, Printer, Sighting, decode::decode};

pub use self::input::{Input, input};

/// When all packets are seen: 2023-11-14, 22:13:20 and 7 ns.
const TIME: Duration = Duration::new(1_700_000_000, 7);

/// And so long after the hop before.
const SINCE: Duration = Duration::from_nanos(4807);

/// Decodes the frame in `bytes`, has every printer print it, and checks what came out.
///
/// # Panics
/// When something does not hold.
pub fn check(bytes: &[u8]) {
    let input = Input::parse(bytes);
    input.with_sighting(|sighting| {
        let packet = decode(sighting.frame, sighting.length);
        decoded::check(sighting, &packet);
        prefix::check(sighting, &packet, input.cut);
        text::check(sighting, &packet);
        json::check(sighting, &packet);
        pcapng::check(sighting, input.snaplen);
    });
}

/// What `printer` writes at the beginning, where `end` is known, and for each of `sightings`.
fn printed(mut printer: Printer, end: Option<&EndName>, sightings: &[&Sighting<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(printer.begin(end.into_iter(), &mut out).is_ok(), "a Vec takes everything");
    for sighting in sightings {
        assert!(printer.print(sighting, &mut out).is_ok(), "a Vec takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::{fs, io, path::Path};

    use super::*;

    /// What a fuzzer needed to reach every branch that it has reached.
    #[test]
    fn the_corpus_holds() -> io::Result<()> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/decode");
        let mut inputs = 0;
        for entry in fs::read_dir(corpus)? {
            let file = entry?.path();
            println!("{}", file.display());
            check(&fs::read(file)?);
            inputs += 1;
        }
        assert!(inputs >= 50, "{inputs} files are no corpus");
        Ok(())
    }

    #[test]
    fn every_kind_of_frame_holds_however_it_is_cut() {
        for (name, frame) in frames::all() {
            println!("{name}");
            let ends = (0..=frame.len()).filter(|end| *end < 200 || end % 97 == 0);
            ends.for_each(|end| check(&input(&frame[..end], 0)));
            ends_in_sight(&frame);
        }
    }

    /// Cut by the capture, and not on its way.
    fn ends_in_sight(frame: &[u8]) {
        for end in 0..=frame.len().min(200) {
            check(&input(&frame[..end], frame.len() - end));
        }
    }
}
