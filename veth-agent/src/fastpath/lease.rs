//! The lease on the fast path: a time until which the programs may take it. A dead agent renews
//! nothing, and its tables grow old: packets then take the stack.

use std::time::Duration;

use aya::maps::MapError;
use rustix::time::{ClockId, clock_gettime};

use crate::datapath::Maps;

/// How long a lease is good for where nothing else is said.
pub const DEFAULT: Duration = Duration::from_secs(60);

/// Nanoseconds of the clock that the programs look at (`CLOCK_MONOTONIC`).
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let nanoseconds = |seconds: i64| u64::try_from(seconds).unwrap_or(0) * 1_000_000_000;
    nanoseconds(now.tv_sec) + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Lets the programs take the fast path for `term` from now on.
///
/// # Errors
/// When the map cannot be written.
pub fn renew(maps: &mut Maps, term: Duration) -> Result<(), MapError> {
    let term = u64::try_from(term.as_nanos()).unwrap_or(u64::MAX);
    maps.lease.set(0, now().saturating_add(term), 0)
}

/// How long the lease is still good for; `None` where it has ended.
///
/// # Errors
/// When the map cannot be read.
pub fn remaining(maps: &Maps) -> Result<Option<Duration>, MapError> {
    let until = maps.lease.get(&0, 0)?;
    Ok(until.checked_sub(now()).filter(|left| *left > 0).map(Duration::from_nanos))
}
