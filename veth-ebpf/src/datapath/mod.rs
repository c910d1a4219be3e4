//! Decides where a packet goes; nothing is done to it here.

pub mod decide;
pub mod rewrite;

pub use decide::{Tables, Verdict, decide};
pub use rewrite::Rewrite;
