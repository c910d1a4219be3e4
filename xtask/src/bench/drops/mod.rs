//! `cargo xtask bench drops`: what it costs to count drops.

mod scene;

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;

use self::scene::Scene;
use super::{
    datapath::traffic::{self, Workload},
    pair, private,
    report::{self, Finding, Report},
    rounds::Rounds,
    stats::{Ratio, median},
};
use crate::setup::Group;

/// Aims: see the project's table of speeds and sizes. Where nothing drops, the program hardly runs.
const FLOOD_AIM: f64 = 0.95;
const QUIET_AIM: f64 = 0.98;

/// Of one CPU, in percent, where nothing is lost, and how long to look.
const IDLE_AIM: f64 = 0.1;
const IDLE_TIME: Duration = Duration::from_secs(2);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// UDP packets that the receiver's firewall drops: the shortest way to a drop.
    Filtered,
    /// UDP packets to a closed port.
    Closed,
    /// What is not dropped.
    Delivered(Workload),
}

impl Task {
    const ALL: [Self; 4] = [
        Self::Filtered,
        Self::Closed,
        Self::Delivered(Workload::Stream),
        Self::Delivered(Workload::RoundTrip),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Filtered => "dropped by a firewall",
            Self::Closed => "to a closed port",
            Self::Delivered(workload) => workload.name(),
        }
    }

    const fn aim(self) -> f64 {
        if matches!(self, Self::Delivered(_)) { QUIET_AIM } else { FLOOD_AIM }
    }
}

/// Whether drops are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    Without,
    /// A second copy of it: it differs by noise alone.
    Control,
    Counted,
}

impl Arm {
    const ALL: [Self; 3] = [Self::Without, Self::Control, Self::Counted];

    const fn name(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Control => "control",
            Self::Counted => "counted",
        }
    }
}

/// Measures inside private namespaces, prints a table and writes `target/bench/drops.json`.
pub fn main(args: &Rounds) -> Result<()> {
    let groups = [Group::Build, Group::Bench, Group::Test];
    private::go_inside("drops", &groups, args.binary(), private::nothing)?;
    let mut report = args.report("drops");
    let mut scene = Scene::build(args.agent()?, &report::folder()?)?;
    conclude(&measure(&mut scene, args)?, &mut report);
    let share = scene.idle_share(IDLE_TIME)?;
    let (counted, sent) = scene.audit()?;
    report.note("");
    report.note(&format!("Counted: {counted} of {sent} packets dropped while it was."));
    report.add(Finding::at_most(
        "CPU that the program takes in a TCP stream",
        share,
        "%",
        IDLE_AIM,
    ));
    report.add(Finding::exactly("drops counted", counted / sent * 100.0, "%", 100.0));
    args.publish(&report, "measured drops")
}

/// Rates a second by task, arm and round.
type Rates = Vec<Vec<Vec<f64>>>;

fn measure(scene: &mut Scene, args: &Rounds) -> Result<Rates> {
    let (runs, time) = (args.runs(), args.time());
    let mut rng = Rng::new();
    let mut rates = vec![vec![Vec::new(); Arm::ALL.len()]; Task::ALL.len()];
    for round in 1..=runs {
        let mut order: Vec<_> = (0..Arm::ALL.len()).collect();
        rng.shuffle(&mut order);
        // All tasks in a row: it takes a moment to switch.
        for arm in order {
            scene.count(Arm::ALL[arm] == Arm::Counted)?;
            let mut tasks: Vec<_> = (0..Task::ALL.len()).collect();
            rng.shuffle(&mut tasks);
            // Caches are warm again.
            traffic::run(Workload::RoundTrip, &pair::sites(), Duration::from_millis(50))?;
            for task in tasks {
                rates[task][arm].push(scene.rate(Task::ALL[task], time)?);
            }
        }
        eprintln!("bench: round {round} of {runs}");
    }
    Ok(rates)
}

fn conclude(rates: &Rates, report: &mut Report) {
    let mut rng = Rng::new();
    report.note("| what, a second | without | control | counted |");
    report.note("|---|---:|---:|---:|");
    for (task, rates) in Task::ALL.into_iter().zip(rates) {
        let medians: Vec<_> = rates.iter().map(|rates| format!("{:.0}", median(rates))).collect();
        report.note(&format!("| {} | {} |", task.name(), medians.join(" | ")));
        for (arm, rates) in Arm::ALL.into_iter().zip(rates) {
            report.samples(&format!("{}, {}, per second", task.name(), arm.name()), rates);
        }
    }
    for (task, rates) in Task::ALL.into_iter().zip(rates) {
        let [without, control, counted] = rates.as_slice() else { continue };
        let control = Ratio::of(control, without, &mut rng);
        report.add(Finding::control(&format!("{}: control", task.name()), control));
        let counted = Ratio::of(counted, without, &mut rng);
        report.add(Finding::at_least(&format!("{}: counted", task.name()), counted, task.aim()));
    }
}
