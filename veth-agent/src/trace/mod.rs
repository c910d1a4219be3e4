//! Packets live: what the programs of a trace tell, and how it is shown.

pub mod decode;
mod describe;
mod filter;
mod follow;
#[cfg(test)]
mod frames;
mod outlet;
pub mod print;
mod run;
mod select;
mod session;
mod sighting;
mod stop;

pub use self::describe::Describe;
pub use self::filter::{Filter, FilterError};
pub use self::outlet::Outlet;
pub use self::print::{Clock, Detail, PcapNg, Printer, Text};
pub use self::run::{Totals, TraceError, Until, run};
pub use self::select::{SelectError, Selection, select};
pub use self::session::{EndInfo, Plan, Session, StartError, Watch, clock_offset};
pub use self::sighting::{Direction, EndName, Process, Sighting, Verdict};
pub use self::stop::Stop;
