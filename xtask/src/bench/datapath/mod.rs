//! `cargo xtask bench datapath`: what packets cost, by every way.

pub(super) mod arms;
mod cpu;
mod passes;
pub(super) mod traffic;
pub(super) mod udp;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use serde_json::Value;

use self::{
    arms::{ARMS, Sites, place},
    traffic::{Trial, Workload},
};
use super::{
    private,
    report::{self, Finding, Report},
    rounds::Rounds,
    stats::{Ratio, median},
};
use crate::{process, setup::Group, workspace};

/// How much to measure.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    rounds: Rounds,
    /// The program that times programs, with `--agent`.
    #[arg(long, value_name = "PATH", hide = true)]
    program_time: Option<PathBuf>,
}

/// Aims: see the project's table of speeds and sizes.
const DIRECT_AIM: f64 = 0.97;
const BRIDGE_AIM: f64 = 1.4;
const OBSERVE_AIM: f64 = 0.98;
const COUNT_AIM_NS: f64 = 25.0;
const REDIRECT_AIM_NS: f64 = 60.0;

/// Measures inside private namespaces, prints a table and writes `target/bench/datapath.json`.
pub fn main(args: &Args) -> Result<()> {
    let groups = [Group::Build, Group::Bench];
    private::go_inside("datapath", &groups, args.rounds.binary(), || {
        let timer = workspace::build_bin("veth-tests", "program-time")?;
        Ok(vec!["--program-time".into(), timer.into()])
    })?;
    measure(args)
}

fn measure(args: &Args) -> Result<()> {
    let Args { rounds, program_time } = args;
    let (Some(binary), Some(timer)) = (rounds.binary(), program_time) else {
        bail!("no --agent: start this through cargo xtask");
    };
    let agent = rounds.agent()?;
    let folder = report::folder()?;
    let mut report = rounds.report("datapath");
    arms::build(&agent, &folder)?;
    let trials = run_all(rounds.runs(), rounds.time())?;
    conclude(&trials, &mut report)?;
    backlog(&folder, &mut report)?;
    let counted = arms::audit(&agent, &folder)?;
    let share = counted.ours / counted.kernels * 100.0;
    report.note("");
    report.note(&format!("Counted by `observe`: {} of {} packets.", counted.ours, counted.kernels));
    report.add(Finding::exactly("packets counted", share, "%", 100.0));
    program_times(timer, binary, &mut report)?;
    rounds.publish(&report, "measured")
}

/// Trials by workload, arm and round.
type Trials = Vec<Vec<Vec<Trial>>>;

fn run_all(runs: usize, time: Duration) -> Result<Trials> {
    let mut rng = Rng::new();
    let mut trials = vec![vec![Vec::new(); ARMS.len()]; Workload::ALL.len()];
    // Once unmeasured: neighbours, caches, and a chance to fail early.
    for workload in Workload::ALL {
        for (n, arm) in ARMS.iter().enumerate() {
            traffic::run(workload, &Sites::of(n), Duration::from_millis(50))
                .with_context(|| format!("{} over {}", workload.name(), arm.name))?;
        }
    }
    for round in 1..=runs {
        for (workload, trials) in Workload::ALL.into_iter().zip(&mut trials) {
            let mut order: Vec<_> = (0..ARMS.len()).collect();
            rng.shuffle(&mut order);
            for n in order {
                let trial = traffic::run(workload, &Sites::of(n), time)
                    .with_context(|| format!("{} over {}", workload.name(), ARMS[n].name))?;
                trials[n].push(trial);
            }
        }
        eprintln!("bench: round {round} of {runs}");
    }
    Ok(trials)
}

fn conclude(trials: &Trials, report: &mut Report) -> Result<()> {
    table(trials, report);
    let mut rng = Rng::new();
    for (workload, trials) in Workload::ALL.into_iter().zip(trials) {
        let rates = |arm: &str| -> Result<Vec<f64>> {
            Ok(trials[place(arm)?].iter().map(|trial| trial.rate).collect())
        };
        let mut ratio = |above: &str, below: &str| -> Result<Ratio> {
            Ok(Ratio::of(&rates(above)?, &rates(below)?, &mut rng))
        };
        let name = workload.name();
        let what = |ratio: &str| format!("{name}: {ratio}");
        let control = ratio("control", "direct")?;
        report.add(Finding::control(&what("control/direct"), control));
        if workload == Workload::Udp {
            let found = ratio("tc", "bridge")?;
            report.add(Finding::at_least(&what("tc/bridge"), found, BRIDGE_AIM));
            report.add(Finding::plain_ratio(&what("tc/bridge_nf"), ratio("tc", "bridge_nf")?));
            let found = ratio("tc_routed", "routed")?;
            report.add(Finding::plain_ratio(&what("tc_routed/routed"), found));
            report.add(Finding::plain_ratio(&what("tc/direct"), ratio("tc", "direct")?));
        } else {
            let found = ratio("tc", "direct")?;
            report.add(Finding::at_least(&what("tc/direct"), found, DIRECT_AIM));
            let found = ratio("tc_routed", "direct")?;
            report.add(Finding::at_least(&what("tc_routed/direct"), found, DIRECT_AIM));
            report.add(Finding::plain_ratio(&what("tc/bridge"), ratio("tc", "bridge")?));
        }
        report.add(Finding::plain_ratio(&what("xdp/bridge"), ratio("xdp", "bridge")?));
        let found = ratio("observe", "direct")?;
        if workload == Workload::Stream {
            report.add(Finding::at_least(&what("observe/direct"), found, OBSERVE_AIM));
        } else {
            report.add(Finding::plain_ratio(&what("observe/direct"), found));
        }
    }
    Ok(())
}

/// The medians of every arm, as lines for the reader.
fn table(trials: &Trials, report: &mut Report) {
    report
        .note("| way | p50 us | p99 us | CPU s/M trips | Gbit/s | CPU s/GB | conn/s | UDP kpps |");
    report.note("|---|---:|---:|---:|---:|---:|---:|---:|");
    let of = |workload: usize, n: usize, value: &dyn Fn(&Trial) -> f64| {
        median(&trials[workload][n].iter().map(value).collect::<Vec<_>>())
    };
    let latency = |at: usize| move |trial: &Trial| trial.latency.map_or(0.0, |both| both[at]);
    for (n, arm) in ARMS.iter().enumerate() {
        report.note(&format!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} |",
            arm.name,
            of(0, n, &latency(0)),
            of(0, n, &latency(1)),
            of(0, n, &|trial| trial.cpu * 1e6),
            of(1, n, &|trial| trial.rate * 8e-9),
            of(1, n, &|trial| trial.cpu * 1e9),
            of(2, n, &|trial| trial.rate),
            of(3, n, &|trial| trial.rate / 1e3),
        ));
        for (workload, trials) in Workload::ALL.into_iter().zip(trials) {
            let rates: Vec<_> = trials[n].iter().map(|trial| trial.rate).collect();
            report.samples(&format!("{}, {}, per second", workload.name(), arm.name), &rates);
        }
    }
}

fn backlog(folder: &Path, report: &mut Report) -> Result<()> {
    let aims = [("direct", 1.0), ("bridge", 2.0), ("routed", 2.0), ("tc", 1.0), ("tc_routed", 1.0)];
    let ways = aims.iter().map(|(arm, _)| place(arm).map(Sites::of)).collect::<Result<Vec<_>>>()?;
    for ((arm, aim), passes) in aims.into_iter().zip(passes::count(folder, &ways)?) {
        report.add(Finding::exactly(&format!("backlog passes a packet: {arm}"), passes, "", aim));
    }
    Ok(())
}

/// What programs cost above an empty one.
fn program_times(timer: &Path, agent: &Path, report: &mut Report) -> Result<()> {
    let times = process::read(Command::new(timer).env("VETH_AGENT", agent))?;
    let times: Value = serde_json::from_str(&times).context("program-time")?;
    let of = |name: &str| -> Result<f64> {
        let times = times[name].as_array().with_context(|| format!("no {name}"))?;
        Ok(median(&times.iter().filter_map(Value::as_f64).collect::<Vec<_>>()))
    };
    let count = of("count")? - of("empty_far")?;
    report.add(Finding::at_most("program time: count", count, "ns", COUNT_AIM_NS));
    let redirect = of("redirect")? - of("empty")?;
    report.add(Finding::at_most("program time: redirect, routed", redirect, "ns", REDIRECT_AIM_NS));
    let fallback = of("fallback")? - of("empty")?;
    report.add(Finding::plain("program time: left to the stack", fallback, "ns"));
    Ok(())
}
