//! From kernel maps to plain figures.

mod counters;
mod drops;
mod ring;

pub use counters::{EndReading, read, unknown};
pub use drops::{
    AllDrops, Class, DropName, DropNames, DropReader, Drops, DropsByReason, Stage, by_reason,
    classify,
};
pub use ring::{Captured, Rings, now as monotonic, seen};
