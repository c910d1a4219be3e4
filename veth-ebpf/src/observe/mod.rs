//! What looks at packets and never changes their verdict.

pub mod count;
pub mod mtu;
mod network;
