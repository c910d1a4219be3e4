//! What people and other programs read of a sighting. Everything that comes from elsewhere is escaped here:
//! names are other people's, and a packet may hold anything.

mod clock;
mod dns;
mod json;
mod names;
mod pcapng;
#[cfg(test)]
mod sample;
mod summary;
mod text;

use std::io::{self, Write};

pub use self::{
    clock::Clock,
    pcapng::PcapNg,
    text::{Detail, Text},
};
use super::{
    EndName, Sighting, Verdict,
    decode::{Packet, decode},
    follow::Order,
};

/// Writes sightings in one of the formats, each with a single write, so that a reader at the other end of a pipe
/// never sees a part of one.
#[derive(Debug)]
pub struct Printer {
    format: Format,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Format {
    Text(Text),
    Json,
    PcapNg(PcapNg),
}

impl Printer {
    /// Lines for people.
    #[must_use]
    pub const fn text(text: Text) -> Self {
        Self { format: Format::Text(text), buffer: Vec::new() }
    }

    /// An object of JSON a line.
    #[must_use]
    pub const fn json() -> Self {
        Self { format: Format::Json, buffer: Vec::new() }
    }

    /// A capture file.
    #[must_use]
    pub const fn pcapng(file: PcapNg) -> Self {
        Self { format: Format::PcapNg(file), buffer: Vec::new() }
    }

    /// In which order it takes the hops of packets that are followed: people read way by way, and a file whose times
    /// go back is none that its readers expect.
    pub(super) const fn order(&self) -> Order {
        match self.format {
            Format::Text(_) | Format::Json => Order::Packets,
            Format::PcapNg(_) => Order::Times,
        }
    }

    /// Writes what stands before the first packet of these ends: without packets, too, a capture file is one.
    ///
    /// # Errors
    /// Those of `out`; `BrokenPipe` where nobody reads any more.
    pub fn begin<'a>(
        &mut self,
        ends: impl Iterator<Item = &'a EndName>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match &mut self.format {
            Format::PcapNg(file) => out.write_all(&file.begin(ends)),
            Format::Text(text) => {
                ends.for_each(|end| text.expect(end));
                Ok(())
            }
            Format::Json => Ok(()),
        }
    }

    /// Writes one sighting.
    ///
    /// # Errors
    /// Those of `out`; `BrokenPipe` where nobody reads any more.
    pub fn print(&mut self, sighting: &Sighting<'_>, out: &mut impl Write) -> io::Result<()> {
        let buffer = &mut self.buffer;
        buffer.clear();
        match &mut self.format {
            Format::Text(text) => {
                text.line(sighting, &packet(sighting), buffer)?;
            }
            Format::Json => json::line(sighting, &packet(sighting), buffer)?,
            Format::PcapNg(file) => file.packet(sighting, buffer),
        }
        out.write_all(buffer)
    }
}

/// What there is in a frame, but for a header that is made up.
fn packet(sighting: &Sighting<'_>) -> Packet {
    let packet = decode(sighting.frame, sighting.length);
    if sighting.bare { Packet { ethernet: None, ..packet } } else { packet }
}

/// What became of a packet, in words: `drop no_socket at tcp_v4_rcv+0x1f`.
fn outcome(sighting: &Sighting<'_>) -> Option<String> {
    use crate::escape::Escaped;
    match sighting.verdict? {
        Verdict::Pass => Some("pass".to_owned()),
        Verdict::Redirect => Some("redirect".to_owned()),
        Verdict::Drop => {
            let reason = sighting.reason.map(|reason| format!(" {}", Escaped(reason)));
            let place = sighting.place.map(|place| format!(" at {}", Escaped(place)));
            Some(format!("drop{}{}", reason.unwrap_or_default(), place.unwrap_or_default()))
        }
    }
}
