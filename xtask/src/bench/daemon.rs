//! The daemon on many pairs: how fast it attaches, answers a scrape, and what it costs.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    apply::EXPEDITE,
    machine,
    report::{Finding, Report},
    stats::median,
};
use crate::{agent::Agent, agent::Daemon, scrape};

/// Host ends to attach to, and pairs to serve.
const MANY: usize = 1000;

/// Scrapes to take the median of.
const SCRAPES: usize = 21;

/// How long an idle daemon is watched.
const IDLE: Duration = Duration::from_secs(20);

/// Aims: see the project's table of speeds and sizes.
const ATTACH_AIM_S: f64 = 1.0;
const SCRAPE_AIM_MS: f64 = 20.0;
const MEMORY_AIM_MIB: f64 = 40.0;
const IDLE_AIM_PERCENT: f64 = 0.1;

/// Adds the daemon's figures to `report`.
pub fn measure(agent: &Agent, folder: &Path, runs: usize, report: &mut Report) -> Result<()> {
    let host_ends = format!("ready, {MANY} host ends");
    machine::host_pairs(MANY / 2)?;
    // Half a minute each: a few are enough for a median.
    let slow = attach(agent, &[], folder, runs.min(3), report)?;
    report.add(Finding::at_most(&host_ends, median(&slow), "s", ATTACH_AIM_S));
    let fast = attach(agent, &[EXPEDITE], folder, runs, report)?;
    report.add(Finding::at_most("the same, RCU expedited", median(&fast), "s", ATTACH_AIM_S));
    machine::remove_host_pairs(MANY / 2)?;
    report.samples("attach_seconds", &slow);
    report.samples("attach_expedited_seconds", &fast);
    serve_pods(agent, folder, report)
}

/// Seconds from the start of `run` until it is ready, with nothing attached before.
fn attach(
    agent: &Agent,
    options: &[&str],
    folder: &Path,
    runs: usize,
    report: &mut Report,
) -> Result<Vec<f64>> {
    let mut seconds = Vec::new();
    let links = machine::bpf_links()?;
    for round in 1..=runs {
        let daemon = agent.start(options, folder, || Ok(()))?;
        let ready = daemon.ready_after();
        eprintln!("bench: round {round} of {runs}: {MANY} host ends {options:?} {ready:.3?}");
        seconds.push(ready.as_secs_f64());
        check_ends(&daemon, MANY)?;
        if round == 1 {
            note_log(&daemon, report);
        }
        daemon.stop()?;
        agent.call(&["detach", "--all"])?;
        machine::settle_links(links)?;
    }
    Ok(seconds)
}

/// What the daemon itself says of attaching.
fn note_log(daemon: &Daemon, report: &mut Report) {
    let log = daemon.log();
    if let Some(line) = log.lines().find(|line| line.contains("attached")) {
        // Without the time of day.
        report.note(line.split_once("Z ").map_or(line, |(_, text)| text).trim());
    }
}

/// Pairs as pods have them: one end on the host, the other in a namespace of its own.
fn serve_pods(agent: &Agent, folder: &Path, report: &mut Report) -> Result<()> {
    machine::build_by_ip(&machine::host_batch(MANY), &machine::inner_batches(MANY))?;
    let daemon = agent.start(&[EXPEDITE], folder, || Ok(()))?;
    check_ends(&daemon, 2 * MANY)?;
    let ready = daemon.ready_after().as_secs_f64();
    let what = format!("ready, {MANY} pairs, RCU expedited");
    report.samples("attach_pods_expedited_seconds", &[ready]);
    report.add(Finding::plain(&what, ready, "s"));

    let milliseconds = scrapes(&daemon)?;
    report.samples("scrape_milliseconds", &milliseconds);
    let what = format!("scrape with {MANY} pairs");
    report.add(Finding::at_most(&what, median(&milliseconds), "ms", SCRAPE_AIM_MS));

    let memory = resident_mib(daemon.pid())?;
    report.add(Finding::at_most("resident memory then", memory, "MiB", MEMORY_AIM_MIB));

    eprintln!("bench: watching the idle daemon for {IDLE:?}");
    let idle = idle_percent(daemon.pid())?;
    report.add(Finding::at_most("idle CPU then", idle, "%", IDLE_AIM_PERCENT));
    daemon.stop()
}

/// The daemon must serve what is there: a figure about less would be worth nothing.
fn check_ends(daemon: &Daemon, ends: usize) -> Result<()> {
    let samples = scrape::samples(&daemon.client().get("/metrics")?)?;
    let served = samples
        .iter()
        .filter(|s| s.name == "veth_agent_packets_total" && s.label("direction") == "rx")
        .count();
    if served != ends {
        bail!("/metrics has {served} ends instead of {ends}; the daemon's log:\n{}", daemon.log());
    }
    Ok(())
}

fn scrapes(daemon: &Daemon) -> Result<Vec<f64>> {
    let once = |_| {
        let start = Instant::now();
        daemon.client().get("/metrics")?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    (0..SCRAPES).map(once).collect()
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("/proc/PID/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib / 1024.0)
}

/// The share of one CPU that a process takes while nobody asks it anything.
fn idle_percent(pid: u32) -> Result<f64> {
    let before = cpu_ticks(pid)?;
    thread::sleep(IDLE);
    let ticks = cpu_ticks(pid)? - before;
    let seconds = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Ok(seconds / IDLE.as_secs_f64() * 100.0)
}

/// User and system time, in the kernel's ticks (10 ms: 0.05 % of the time watched).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("/proc/PID/stat")?;
    ticks(&stat).context("/proc/PID/stat")
}

/// Fields 14 and 15 of proc_pid_stat(5); the second, a name, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (x) S 1"), None);
    }
}
