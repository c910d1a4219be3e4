//! How often our programs run and how long a run takes, as the kernel counts it while somebody
//! asks it to (`BPF_ENABLE_STATS`, `kernel.bpf_stats_enabled`).

use std::{collections::BTreeMap, os::fd::OwnedFd, time::Duration};

use aya::{
    programs::ProgramInfo,
    sys::{Stats, SyscallError, enable_stats},
};

use super::{DatapathError, Pins};

/// Runs of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many.
    pub count: u64,
    /// How long all of them took.
    pub time: Duration,
}

impl Runs {
    /// What came to `earlier` until now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            time: self.time.saturating_sub(earlier.time),
        }
    }

    /// Nanoseconds a run, which is a packet; `None` where none was timed.
    #[must_use]
    pub fn nanoseconds(self) -> Option<u64> {
        u64::try_from(self.time.as_nanos()).ok()?.checked_div(self.count)
    }
}

/// The runs of our programs, by program id.
///
/// # Errors
/// When it cannot be seen what is pinned. A program that goes away meanwhile is left out.
pub fn runs(pins: &Pins) -> Result<BTreeMap<u32, Runs>, DatapathError> {
    let read = |(_, pin)| {
        let info = ProgramInfo::from_pin(pin).ok()?;
        Some((info.id(), Runs { count: info.run_count(), time: info.run_time() }))
    };
    Ok(pins.pinned_programs()?.into_iter().filter_map(read).collect())
}

/// Lets the kernel count for as long as the value lives.
///
/// # Errors
/// When it does not, for want of `CAP_SYS_ADMIN` or before Linux 5.8.
pub fn count_runs() -> Result<OwnedFd, SyscallError> {
    enable_stats(Stats::RunTime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_run_is_that_of_the_runs_meanwhile() {
        let runs = |count, nanoseconds| Runs { count, time: Duration::from_nanos(nanoseconds) };
        assert_eq!(runs(150, 9_000).since(runs(100, 8_000)).nanoseconds(), Some(20));
        assert_eq!(runs(100, 8_000).since(runs(100, 8_000)).nanoseconds(), None);
    }
}
