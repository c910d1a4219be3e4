//! Decides where a packet goes; nothing is done to it here.

pub mod decide;
pub mod rewrite;
#[cfg(test)]
mod tests;

pub use decide::{Tables, Verdict, decide};
pub use rewrite::Rewrite;
