//! One pair between two namespaces, with a firewall at the receiver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Task;
use crate::{
    agent::Agent,
    bench::{
        datapath::{
            traffic::{self, Workload},
            udp,
        },
        pair,
    },
    process, scrape,
};

/// Where the agent pins links and programs.
const PINS: &str = "/sys/fs/bpf/veth-agent";

/// Whether the kernel measures what programs take, for all of them.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

const FILTERED: u16 = 5001;
const CLOSED: u16 = 5002;

/// The pair, and whether drops are counted.
pub struct Scene {
    agent: Agent,
    folder: PathBuf,
    counting: bool,
    /// Packets that were dropped while drops were counted.
    sent: u64,
}

impl Scene {
    /// Builds it. Its packets are counted throughout; no daemon runs while anything is measured.
    pub fn build(agent: Agent, folder: &Path) -> Result<Self> {
        pair::build(&agent, folder)?;
        for rule in [
            "add table ip t",
            "add chain ip t input { type filter hook input priority 0; }",
            &format!("add rule ip t input udp dport {FILTERED} drop"),
        ] {
            process::read(pair::within(pair::BLUE, "nft").arg(rule))?;
        }
        Ok(Self { agent, folder: folder.to_owned(), counting: false, sent: 0 })
    }

    /// Lets drops be counted, or not: a daemon attaches the programs and leaves them, and they go with
    /// their pins.
    pub fn count(&mut self, counting: bool) -> Result<()> {
        if counting && !self.counting {
            self.agent.start(&[], &self.folder, || Ok(()))?.stop()?;
        } else if self.counting && !counting {
            links()?.iter().try_for_each(fs::remove_file)?;
        }
        self.counting = counting;
        Ok(())
    }

    /// Packets, bytes or round trips a second.
    pub fn rate(&mut self, task: Task, time: Duration) -> Result<f64> {
        let port = match task {
            Task::Filtered => FILTERED,
            Task::Closed => CLOSED,
            Task::Delivered(workload) => {
                return Ok(traffic::run(workload, &pair::sites(), time)?.rate);
            }
        };
        let (sent, took) = udp::flood(&pair::sites(), port, time)?;
        if self.counting {
            self.sent += sent;
        }
        Ok(sent as f64 / took.as_secs_f64())
    }

    /// The share of one CPU, in percent, that the program takes while a TCP stream runs: the kernel
    /// frees some packets of it that nobody misses.
    pub fn idle_share(&mut self, time: Duration) -> Result<f64> {
        self.count(true)?;
        let before = fs::read_to_string(STATISTICS).context(STATISTICS)?;
        fs::write(STATISTICS, "1").context(STATISTICS)?;
        let done = self.taken_by_stream(time);
        fs::write(STATISTICS, before).context(STATISTICS)?;
        Ok(done?.as_secs_f64() / time.as_secs_f64() * 100.0)
    }

    fn taken_by_stream(&self, time: Duration) -> Result<Duration> {
        let before = run_time()?;
        traffic::run(Workload::Stream, &pair::sites(), time)?;
        Ok(run_time()?.saturating_sub(before))
    }

    /// Drops that were counted, and packets that were dropped meanwhile.
    pub fn audit(&mut self) -> Result<(f64, f64)> {
        self.count(false)?;
        let daemon = self.agent.start(&[], &self.folder, || Ok(()))?;
        let samples = scrape::samples(&daemon.client().get("/metrics")?)?;
        let drops = samples.iter().filter(|sample| {
            sample.name == "veth_agent_drops_total"
                && ["netfilter_drop", "no_socket", "cpu_backlog"].contains(&sample.label("reason"))
        });
        let counted = drops.map(|sample| sample.value).sum();
        daemon.stop()?;
        Ok((counted, self.sent as f64))
    }
}

/// The pinned links that hear of drops.
fn links() -> Result<Vec<PathBuf>> {
    pinned("links", "drops-")
}

/// What the program took since it was loaded, while that was measured.
fn run_time() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for program in pinned("programs", "drops-kfree_skb")? {
        let mut show = Command::new("bpftool");
        let shown = process::read(show.args(["-j", "prog", "show", "pinned"]).arg(&program))?;
        let shown: Value = serde_json::from_str(&shown).context("bpftool -j prog show")?;
        sum += Duration::from_nanos(shown["run_time_ns"].as_u64().unwrap_or(0));
    }
    Ok(sum)
}

/// What the agent has pinned in folders of this name, under names that begin so.
fn pinned(folder: &str, begin: &str) -> Result<Vec<PathBuf>> {
    let mut pins = Vec::new();
    for version in fs::read_dir(PINS).context(PINS)? {
        for pin in fs::read_dir(version?.path().join(folder))? {
            let pin = pin?;
            if pin.file_name().to_string_lossy().starts_with(begin) {
                pins.push(pin.path());
            }
        }
    }
    Ok(pins)
}
