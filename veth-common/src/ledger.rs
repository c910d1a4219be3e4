//! Where the ledger of a pair begins.

use crate::endpoint::EndKey;

/// The base of one direction, kept under the end that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Base {
    /// The end that receives.
    pub to: EndKey,
    /// What was unaccounted for when it was taken: what had passed one end before the other was observed.
    pub segments: i64,
}
