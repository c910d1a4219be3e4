//! From kernel maps to plain figures.

mod counters;
mod drops;

pub use counters::{EndReading, read, unknown};
pub use drops::{AllDrops, Class, DropReader, Drops, DropsByReason, Stage, by_reason, classify};
