//! `cargo xtask bench apply`: building pairs against iproute2, then the daemon on many of them.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use fastrand::Rng;

use super::{
    daemon, machine, private,
    report::{self, Finding, Report},
    stats::{Ratio, median},
};
use crate::{agent::Agent, setup::Group};

/// How much to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Pairs, each into a namespace of its own, that one run of `apply` builds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=4000))]
    pairs: u16,
    /// Rounds; each runs every arm once, in random order.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

/// Aim: building by `apply` takes at most as long as by `ip -batch`.
const APPLY_AIM: f64 = 1.0;

/// Every TCX attach waits for an RCU grace period; this option of the agent shortens them.
pub const EXPEDITE: &str = "--expedite-rcu";

/// Measures inside private namespaces, prints a table and writes `target/bench/apply.json`.
pub fn main(args: &Args) -> Result<()> {
    let groups = [Group::Build, Group::Bench];
    private::go_inside("apply", &groups, args.agent.as_deref(), private::nothing)?;
    measure(args)
}

fn measure(args: &Args) -> Result<()> {
    let Some(binary) = &args.agent else { bail!("no --agent: start this through cargo xtask") };
    let agent = Agent::new(binary.clone());
    let folder = report::folder()?;
    let mut report = Report::new("apply");
    report.setting("pairs", usize::from(args.pairs));
    report.setting("runs", usize::from(args.runs));
    build_pairs(&agent, &folder, args, &mut report)?;
    daemon::measure(&agent, &folder, usize::from(args.runs), &mut report)?;
    println!("{report}");
    report.write()
}

/// Ways to build the same pairs. The second `ip` is the control: any difference from the first is
/// noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    Apply,
    ApplyExpedited,
    Ip,
    Control,
}

const ARMS: [Arm; 4] = [Arm::Apply, Arm::ApplyExpedited, Arm::Ip, Arm::Control];

/// Seconds of each arm, round by round, in the order of [`ARMS`].
type Seconds = [Vec<f64>; ARMS.len()];

/// The inputs of the arms, made beforehand.
struct Inputs {
    pairs: usize,
    file: PathBuf,
    host: String,
    inner: Vec<(String, String)>,
}

fn build_pairs(agent: &Agent, folder: &Path, args: &Args, report: &mut Report) -> Result<()> {
    let pairs = usize::from(args.pairs);
    let file = machine::write_topology(folder, pairs)?;
    let (host, inner) = (machine::host_batch(pairs), machine::inner_batches(pairs));
    let inputs = Inputs { pairs, file, host, inner };
    let seconds = rounds(agent, &inputs, usize::from(args.runs))?;
    conclude(&seconds, pairs, report);
    Ok(())
}

fn rounds(agent: &Agent, inputs: &Inputs, runs: usize) -> Result<Seconds> {
    let mut rng = Rng::new();
    let mut seconds = Seconds::default();
    for arm in ARMS {
        // Once unmeasured: module loading, caches, and a chance to fail early.
        once(agent, inputs, arm)?;
    }
    for round in 1..=runs {
        let mut order = [0, 1, 2, 3];
        rng.shuffle(&mut order);
        for index in order {
            let took = once(agent, inputs, ARMS[index])?;
            eprintln!("bench: round {round} of {runs}: {:?} {took:.3} s", ARMS[index]);
            seconds[index].push(took);
        }
    }
    Ok(seconds)
}

/// Builds by one arm, checks, and removes it all; only the building is timed.
fn once(agent: &Agent, inputs: &Inputs, arm: Arm) -> Result<f64> {
    let start = Instant::now();
    match arm {
        Arm::Apply => drop(agent.with_file(&["apply"], &inputs.file)?),
        Arm::ApplyExpedited => drop(agent.with_file(&["apply", EXPEDITE], &inputs.file)?),
        Arm::Ip | Arm::Control => machine::build_by_ip(&inputs.host, &inputs.inner)?,
    }
    let took = start.elapsed().as_secs_f64();
    let built = machine::census()?;
    if built != (inputs.pairs, inputs.pairs) {
        bail!("{arm:?} built (ends, namespaces) = {built:?} instead of {} each", inputs.pairs);
    }
    match arm {
        Arm::Apply | Arm::ApplyExpedited => {
            drop(agent.with_file(&["delete", EXPEDITE], &inputs.file)?)
        }
        Arm::Ip | Arm::Control => machine::remove_by_ip(inputs.pairs)?,
    }
    machine::settle()?;
    Ok(took)
}

fn conclude([apply, expedited, ip, control]: &Seconds, pairs: usize, report: &mut Report) {
    let mut rng = Rng::new();
    report.samples("apply_seconds", apply);
    report.samples("apply_expedited_seconds", expedited);
    report.samples("ip_batch_seconds", ip);
    report.samples("ip_batch_control_seconds", control);
    report.note(&format!(
        "{pairs} pairs: apply {:.3} s, with {EXPEDITE} {:.3} s, ip -batch {:.3} s (medians)",
        median(apply),
        median(expedited),
        median(ip)
    ));
    report.add(Finding::ratio("apply / ip", Ratio::of(apply, ip, &mut rng), APPLY_AIM));
    let ratio = Ratio::of(expedited, ip, &mut rng);
    report.add(Finding::ratio("apply, RCU expedited / ip", ratio, APPLY_AIM));
    report.add(Finding::control("control / ip", Ratio::of(control, ip, &mut rng)));
}
