//! Packets live: what the programs of a trace tell, and how it is shown.

mod sighting;

pub use self::sighting::{Direction, EndName, Process, Sighting, Verdict};
