//! One packet at one place, for a trace.

use veth_common::trace::{Event, Source};

use crate::trace_maps::{Frame, Outcome, is_over, record, seen};

/// A packet that a trace comes across.
pub trait Sight {
    /// What counts it.
    const SOURCE: Source;
    /// Its bytes.
    fn frame(&self) -> &impl Frame;
    /// Whether the filter takes it.
    fn is_wanted(&self) -> bool;
    /// What is told of it.
    fn event(&self) -> Event;
}

/// Counts a packet, and records it where the filter takes it; `limited`, if there is a place.
#[inline(always)]
pub fn look<S: Sight>(sight: &S, limited: bool) {
    if limited && is_over() {
        return;
    }
    let Some(counts) = seen(S::SOURCE) else { return };
    if !sight.is_wanted() {
        counts.seen += 1;
        return;
    }
    let outcome = record(&sight.event(), sight.frame(), limited);
    if outcome == Outcome::Over {
        return;
    }
    counts.seen += 1;
    counts.matched += 1;
    if outcome == Outcome::Full {
        counts.lost += 1;
    }
}
