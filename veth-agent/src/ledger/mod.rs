//! The ledger of a pair: what was put into it on one side comes out at the other, or was dropped in
//! between by the kernel's own word. What is left over is shown, and never made to fit.
//!
//! All in segments: super-frames are cut and joined on the way.

mod base;
mod flow;

pub use base::{Bases, Way, settle, unaccounted, unsettled};
pub use flow::{Flow, Side, flow};
