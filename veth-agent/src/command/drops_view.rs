//! What `status` and `doctor` say of drops.

use serde::Serialize;

use super::escape;
use crate::datapath::{self, Pins};

/// Whether drops are counted on this node.
#[derive(Serialize)]
pub struct DropsView {
    counted: bool,
    /// Why they are not.
    reason: Option<String>,
}

impl DropsView {
    /// Looks, and where nobody counts them, tries for a moment whether one could.
    pub fn take(pins: &Pins) -> Self {
        let reason = datapath::why_no_drops(pins);
        Self { counted: reason.is_none(), reason }
    }

    /// Whether they are.
    pub const fn counted(&self) -> bool {
        self.counted
    }

    /// For people.
    pub fn line(&self) -> String {
        match &self.reason {
            None => "drops: counted by reason\n".to_owned(),
            Some(reason) => format!("drops: not counted: {}\n", escape(reason)),
        }
    }
}
