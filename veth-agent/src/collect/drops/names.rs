//! What the kernel's reasons and places are called, and which of them mean nothing.

use std::collections::BTreeSet;

use veth_common::trace::NormalEnd;

use super::{
    classify::{Class, Ended, classify, normal_ends},
    reasons::Reasons,
    symbols::{self, Symbols},
};
use crate::btf::Btf;

/// The names of the running kernel.
#[derive(Debug)]
pub struct DropNames {
    reasons: Reasons,
    symbols: Symbols,
}

/// A packet that was dropped, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropName {
    /// Why: the kernel's reason in lower case, or ours where it gives none.
    pub reason: String,
    /// Where: `FUNCTION+0xOFFSET`, where the kernel shows its addresses.
    pub place: Option<String>,
}

impl DropNames {
    /// Those of a kernel that describes its types like this.
    #[must_use]
    pub fn of(kernel: &Btf) -> Self {
        Self { reasons: Reasons::of(kernel), symbols: Symbols::default() }
    }

    /// How packets end whose work is done. Where the kernel hides its addresses, these are fewer.
    #[must_use]
    pub fn normal(&self) -> Vec<NormalEnd> {
        let known = self.reasons.all().flat_map(|(_, name)| normal_ends(name));
        let functions: BTreeSet<&str> = known.flat_map(|end| end.functions).copied().collect();
        let places = symbols::places(|symbol| functions.contains(symbol));
        let mut ends = Vec::new();
        for (reason, name) in self.reasons.all() {
            for normal in normal_ends(name) {
                let only_to_groups = u32::from(normal.only_to_groups);
                let end = |first, behind| NormalEnd { first, behind, reason, only_to_groups };
                if normal.functions.is_empty() {
                    ends.push(end(0, u64::MAX));
                }
                let places = normal.functions.iter().filter_map(|name| places.get(*name));
                ends.extend(places.flatten().map(|place| end(place.start, place.end)));
            }
        }
        ends
    }

    /// What a drop is called.
    pub fn name(&mut self, reason: u32, location: u64) -> DropName {
        self.reasons.look_for(std::iter::once(reason));
        self.symbols.look_for(std::iter::once(location));
        let symbol = self.symbols.get(location);
        let kernels = self.reasons.name(reason);
        // What comes here has been taken for a drop already.
        let ended = Ended { reason: &kernels, symbol, is_to_group: false };
        let reason = match classify(ended) {
            Class::Drop { name, .. } => name,
            Class::Normal => kernels.into_owned(),
        };
        let place = symbol.map(|symbol| {
            format!("{symbol}+{:#x}", self.symbols.offset(location).unwrap_or_default())
        });
        DropName { reason, place }
    }
}
