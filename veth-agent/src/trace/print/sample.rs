//! Sightings for the tests of the printers.

use std::time::Duration;

use super::{
    super::{Direction, EndName, Process, Sighting, Verdict},
    Printer,
};

/// The namespace `orange` and an interface.
pub fn end(interface: &str) -> EndName {
    EndName { netns: "orange".to_owned(), interface: interface.to_owned() }
}

/// A process that has named itself in colour.
pub fn process() -> Process {
    Process { pid: 42, name: "\x1b[31mred\n".to_owned() }
}

/// A frame that goes out of `end` at 22:13:20 and 7 ns on 2023-11-14.
pub fn outgoing<'a>(end: &'a EndName, frame: &'a [u8]) -> Sighting<'a> {
    Sighting {
        time: Duration::new(1_700_000_000, 7),
        packet: 1,
        packet_id: None,
        since: None,
        end: Some(end),
        peer: None,
        direction: Some(Direction::Out),
        verdict: None,
        reason: None,
        place: None,
        length: frame.len() as u32,
        segments: 1,
        gso_size: None,
        mtu: None,
        mark: 0,
        process: None,
        bare: false,
        frame,
    }
}

/// A frame that no socket was there for.
pub fn dropped<'a>(end: Option<&'a EndName>, frame: &'a [u8]) -> Sighting<'a> {
    Sighting {
        time: Duration::new(1_700_000_000, 7),
        packet: 1,
        packet_id: Some(3),
        since: None,
        end,
        peer: None,
        direction: None,
        verdict: Some(Verdict::Drop),
        reason: Some("no_socket"),
        place: Some("udp_rcv+0x1f"),
        length: frame.len() as u32,
        segments: 1,
        gso_size: None,
        mtu: None,
        mark: 0,
        process: None,
        bare: false,
        frame,
    }
}

/// What is written of `sightings`, the beginning of a file included.
pub fn printed(mut printer: Printer, sightings: &[Sighting<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(printer.begin(std::iter::empty(), &mut out).is_ok());
    for sighting in sightings {
        assert!(printer.print(sighting, &mut out).is_ok());
    }
    out
}
