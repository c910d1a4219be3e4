//! Lines for people.

use veth_agent::trace::{Clock, Detail, Printer, Sighting, Text, decode::Packet};

use crate::{harmless::one_line, printed};

/// No line is longer than this: eight names of DNS, each byte as four, and five of the kernel's, each as eight.
const LONGEST: usize = 8 * 4 * 256 + 5 * 8 * 256 + 1024;

pub fn check(sighting: &Sighting<'_>, packet: &Packet) {
    for detail in [Detail::Compact, Detail::Wide] {
        let print = |colour| {
            let text = Text::new(detail, colour, Clock::utc());
            printed(Printer::text(text), sighting.end, &[sighting])
        };
        let plain = print(false);
        let line = one_line(&plain);
        let begin =
            if sighting.since.is_some() { "         +4.807 us " } else { "22:13:20.000000007 " };
        assert!(line.starts_with(begin), "{line}");
        assert!(line.len() <= LONGEST, "{} bytes: {line}", line.len());
        // What the packet is is said at its first hop.
        let fault = packet.fault.filter(|_| detail == Detail::Wide || sighting.since.is_none());
        let told = line.contains("[|") || line.contains("[bad ");
        assert!(told == fault.is_some() || is_in_a_name(sighting), "{line}");
        assert_eq!(without_colour(&print(true)), plain, "colours change nothing but colours");
    }
}

/// Whether what tells of a fault may stand in a name.
fn is_in_a_name(sighting: &Sighting<'_>) -> bool {
    let ends = [sighting.end, sighting.peer].into_iter().flatten();
    let names = ends.flat_map(|end| [end.netns.as_str(), end.interface.as_str()]);
    let names = names.chain([sighting.reason, sighting.place].into_iter().flatten());
    let names = names.chain(sighting.process.map(|process| process.name.as_str()));
    names.into_iter().any(|name| name.contains('['))
}

/// Leaves out what begins and ends a colour.
fn without_colour(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    let codes = ["\x1b[2m", "\x1b[36m", "\x1b[32m", "\x1b[1;31m", "\x1b[0m"];
    codes.iter().fold(text.into_owned(), |text, code| text.replace(code, "")).into_bytes()
}
