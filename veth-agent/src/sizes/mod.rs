//! What the programs compare packets with: how large they may be at each end, and whose the addresses
//! are that an ICMP error speaks of.

mod addresses;
mod limits;
mod sync;
#[cfg(test)]
mod tests;

pub use addresses::addresses;
pub use limits::limits;
pub use sync::{Synced, sync};
