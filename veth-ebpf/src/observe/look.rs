//! One packet at one hook, for a trace.

use veth_common::trace::{Event, Source};

use crate::trace_maps::{Frame, Outcome, is_over, record, seen};

/// Counts a packet, and records it where the filter lets it through. `event` makes what is told of it.
#[inline(always)]
pub fn look(
    source: Source,
    limited: bool,
    matches: impl FnOnce() -> bool,
    event: impl FnOnce() -> Event,
    frame: &impl Frame,
) {
    if limited && is_over() {
        return;
    }
    let Some(counts) = seen(source) else { return };
    if !matches() {
        counts.seen += 1;
        return;
    }
    let outcome = record(&event(), frame, limited);
    if outcome == Outcome::Over {
        return;
    }
    counts.seen += 1;
    counts.matched += 1;
    if outcome == Outcome::Full {
        counts.lost += 1;
    }
}
