//! From kernel maps to plain figures.

mod counters;

pub use counters::{EndReading, read, unknown};
