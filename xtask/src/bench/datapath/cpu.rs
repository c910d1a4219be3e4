//! How busy the machine is.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Time that all CPUs together have been busy since they were started: soft interrupts are charged to
/// whoever runs, so the whole machine is looked at.
pub fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = ticks(&stat).context("/proc/stat")?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, and more that is not ours.
fn ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = fields.as_slice() else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idling_and_the_time_of_other_guests_do_not_count() {
        let stat = "cpu  10 20 30 4000 500 6 7 800 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(ticks(stat), Some(10 + 20 + 30 + 6 + 7));
        assert_eq!(ticks("cpu 1 2\n"), None);
    }
}
