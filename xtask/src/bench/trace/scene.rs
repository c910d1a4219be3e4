//! One pair between two namespaces, and packets that pass it while somebody looks on.

use std::{path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    arms::{Arm, MARKED, Matching, Tool},
    onlooker::Onlooker,
    tally::Tally,
};
use crate::{
    agent::Agent,
    bench::{
        datapath::udp::{self, Flow},
        pair,
    },
    process,
};

/// How long to wait, before packets are sent, for what the last tool left to the kernel to clear away.
const SETTLE: Duration = Duration::from_millis(100);

/// IPv6 looks for neighbours and routers by itself.
const WITHOUT_IPV6: &str = "f=/proc/sys/net/ipv6/conf/all/disable_ipv6; [ ! -e $f ] || echo 1 >$f";

/// The pair.
pub struct Scene {
    agent: Agent,
}

/// What came of one trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// What was sent and received.
    pub flow: Flow,
    /// Packets that came to the traced end, by the kernel's count.
    pub passed: u64,
    /// By the tool's, where there was one.
    pub tally: Option<Tally>,
    /// Time that a CPU gave the tool for them.
    pub taken: Duration,
}

impl Trial {
    /// Packets that were received, in a second.
    pub fn received(&self) -> f64 {
        self.flow.received as f64 / self.flow.receiving.as_secs_f64()
    }

    /// Packets that came to the end, in a second.
    pub fn passed(&self) -> f64 {
        self.passed as f64 / self.flow.sending.as_secs_f64()
    }

    /// Packets that were sent, in a second of the sender's CPU.
    pub fn sent_by_cpu(&self) -> f64 {
        self.flow.sent as f64 / self.flow.sender.as_secs_f64()
    }

    /// Packets that were captured, in a second of sending.
    pub fn captured(&self) -> f64 {
        let captured = self.tally.map_or(0, |tally| tally.captured);
        captured as f64 / self.flow.sending.as_secs_f64()
    }

    /// Nanoseconds that a CPU gave the tool for each packet that came to the end.
    pub fn taken_each(&self) -> f64 {
        self.taken.as_nanos() as f64 / self.passed as f64
    }

    /// Packets that should have matched, of those that were sent.
    pub fn wanted(&self, matching: Matching) -> u64 {
        match matching {
            Matching::Nothing => 0,
            Matching::Marked => self.flow.marked,
            Matching::ByFilter | Matching::Everything => self.flow.sent,
        }
    }
}

impl Scene {
    /// Builds it. Nothing is attached, and nothing passes that is not sent by a trial.
    pub fn build(agent: Agent, folder: &Path) -> Result<Self> {
        pair::build(&agent, folder)?;
        agent.call(&["detach", pair::NAME])?;
        let mac = pair::link(pair::BLUE, pair::BLUE_END)?;
        let mac = mac["address"].as_str().context("no MAC")?;
        let mut ip = Command::new("ip");
        ip.args(["-n", pair::RED, "neigh", "replace", pair::BLUE_ADDRESS, "lladdr", mac]);
        process::read(ip.args(["dev", pair::RED_END, "nud", "permanent"]))?;
        for netns in [pair::RED, pair::BLUE] {
            process::read(pair::within(netns, "sh").args(["-c", WITHOUT_IPV6]))?;
        }
        Ok(Self { agent })
    }

    /// Sends packets for so long while this arm looks on.
    pub fn trial(&self, arm: &Arm, time: Duration) -> Result<Trial> {
        let onlooker = arm.command(&self.agent).map(|command| {
            Onlooker::start(command, arm.tool.ready()).with_context(|| arm.name.to_owned())
        });
        let onlooker = onlooker.transpose()?;
        thread::sleep(SETTLE);
        let taken = || onlooker.as_ref().map_or(Ok(Duration::ZERO), Onlooker::taken);
        let (before, began) = (passed()?, taken()?);
        let flow = udp::flow(&pair::sites(), Some(MARKED), time)?;
        let passed = passed()? - before;
        thread::sleep(arm.tool.lag());
        let taken = taken()?.saturating_sub(began);
        let tally = onlooker.map(|onlooker| {
            let said = onlooker.stop()?;
            arm.tool.tally(&said).with_context(|| format!("no totals: {said}"))
        });
        Ok(Trial { flow, passed, tally: tally.transpose()?, taken })
    }
}

impl Tool {
    /// What it says when it has begun.
    const fn ready(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Agent => "attached ",
            Self::Tcpdump => "listening on ",
        }
    }

    /// How long packets may wait for it: tcpdump gets a part of its buffer when that is full, or after a
    /// second, and does not look any more when it is to end.
    const fn lag(self) -> Duration {
        match self {
            Self::Nobody => Duration::ZERO,
            Self::Agent => Duration::from_millis(200),
            Self::Tcpdump => Duration::from_millis(1200),
        }
    }

    fn tally(self, said: &str) -> Option<Tally> {
        match self {
            Self::Nobody => None,
            Self::Agent => Tally::of_agent(said),
            Self::Tcpdump => Tally::of_tcpdump(said),
        }
    }
}

/// Packets that have come to the traced end.
fn passed() -> Result<u64> {
    let link = pair::link(pair::BLUE, pair::BLUE_END)?;
    link["stats64"]["rx"]["packets"].as_u64().context("no packets")
}
