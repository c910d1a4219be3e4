//! What looks at packets and never changes their verdict.

pub mod count;
pub mod drops;
#[cfg(test)]
mod drops_tests;
pub mod freed;
pub mod look;
pub mod mtu;
mod network;
pub mod sender;
