//! `cargo xtask bench trace`: what it costs to trace packets, and how many of them are shown.

mod arms;
mod onlooker;
mod scene;
mod tally;

use anyhow::{Context as _, Result};
use fastrand::Rng;

use self::{
    arms::{ARMS, Arm, Matching, Tool, place},
    scene::{Scene, Trial},
    tally::Tally,
};
use super::{
    private,
    report::{self, Finding, Report},
    rounds::Rounds,
    stats::{Ratio, median},
};
use crate::setup::Group;

/// Aims: see the project's table of speeds and sizes.
const NOTHING_AIM: f64 = 0.98;
const ALL_AIM: f64 = 0.8;

/// Of packets that are captured in a second, against tcpdump.
const CAPTURED_AIM: f64 = 1.0;

/// Something about one trial.
type Measure = fn(&Trial) -> f64;

/// The rates of a trial, a second.
const RATES: [(&str, Measure); 4] = [
    ("received", Trial::received),
    ("passed", Trial::passed),
    ("by sender's CPU", Trial::sent_by_cpu),
    ("captured", Trial::captured),
];

/// Measures inside private namespaces, prints a table and writes `target/bench/trace.json`.
pub fn main(args: &Rounds) -> Result<()> {
    let groups = [Group::Build, Group::Bench];
    private::go_inside("trace", &groups, args.binary(), private::nothing)?;
    let mut report = args.report("trace");
    let scene = Scene::build(args.agent()?, &report::folder()?)?;
    let trials = measure(&scene, args)?;
    table(&trials, &mut report);
    conclude(&trials, &mut report)?;
    account(&trials, &mut report);
    args.publish(&report, "measured trace")
}

/// Trials by arm and round.
type Trials = Vec<Vec<Trial>>;

fn measure(scene: &Scene, args: &Rounds) -> Result<Trials> {
    let mut rng = Rng::new();
    let mut trials = vec![Vec::new(); ARMS.len()];
    for round in 1..=args.runs() {
        let mut order: Vec<_> = (0..ARMS.len()).collect();
        rng.shuffle(&mut order);
        for arm in order {
            trials[arm].push(scene.trial(&ARMS[arm], args.time())?);
        }
        eprintln!("bench: round {round} of {}", args.runs());
    }
    Ok(trials)
}

/// The medians of every arm, and what became of the packets of all rounds, as lines for the reader.
fn table(trials: &Trials, report: &mut Report) {
    report.note(
        "| packets a second | received | passed | by sender's CPU | captured | tool's CPU ns a packet |",
    );
    report.note("|---|---:|---:|---:|---:|---:|");
    for (arm, trials) in ARMS.iter().zip(trials) {
        let mut row = format!("| {} |", arm.name);
        for (what, value) in RATES {
            let rates: Vec<_> = trials.iter().map(value).collect();
            row += &format!(" {:.0} |", median(&rates));
            report.samples(&format!("{what}, {}, per second", arm.name), &rates);
        }
        let taken: Vec<_> = trials.iter().map(Trial::taken_each).collect();
        report.note(&format!("{row} {:.0} |", median(&taken)));
    }
    report.note("");
    report.note("| packets of all rounds | matched | captured | lost | not read |");
    report.note("|---|---:|---:|---:|---:|");
    for (arm, trials) in ARMS.iter().zip(trials).filter(|(arm, _)| arm.tool != Tool::Nobody) {
        let Tally { matched, captured, lost, .. } = sum(trials);
        let unread = sum(trials).unread();
        report.note(&format!("| {} | {matched} | {captured} | {lost} | {unread} |", arm.name));
    }
    report.note("");
}

/// What a tool counted in all rounds.
fn sum(trials: &[Trial]) -> Tally {
    trials.iter().filter_map(|trial| trial.tally).fold(Tally::default(), Tally::plus)
}

fn conclude(trials: &Trials, report: &mut Report) -> Result<()> {
    let mut rng = Rng::new();
    let mut ratio = |value: Measure, above: &str, below: &str| -> Result<Ratio> {
        Ok(Ratio::of(&values(trials, above, value)?, &values(trials, below, value)?, &mut rng))
    };
    let compared = || ARMS.iter().filter(|arm| arm.name != "not attached");
    for arm in compared() {
        let found = ratio(Trial::received, arm.name, "not attached")?;
        report.add(judged(arm, &format!("received: {}", arm.name), found));
    }
    for arm in compared() {
        let found = ratio(Trial::passed, arm.name, "not attached")?;
        let what = format!("passed: {}", arm.name);
        report.add(match arm.tool {
            Tool::Nobody => Finding::control(&what, found),
            Tool::Agent | Tool::Tcpdump => Finding::plain_ratio(&what, found),
        });
    }
    for (ours, theirs) in
        [("all", "tcpdump"), ("all", "tcpdump -B 8192"), ("all as text", "tcpdump as text")]
    {
        let what = format!("captured: {ours} / {theirs}");
        let found = ratio(Trial::captured, ours, theirs)?;
        report.add(Finding::at_least(&what, found, CAPTURED_AIM));
    }
    Ok(())
}

/// Those of one arm, round by round.
fn values(trials: &Trials, name: &str, value: Measure) -> Result<Vec<f64>> {
    let place = place(name).with_context(|| format!("no arm {name}"))?;
    Ok(trials[place].iter().map(value).collect())
}

/// What is expected of an arm, against nothing attached.
fn judged(arm: &Arm, what: &str, ratio: Ratio) -> Finding {
    match arm.tool {
        Tool::Nobody => Finding::control(what, ratio),
        Tool::Agent if arm.matching == Matching::Nothing => {
            Finding::at_least(what, ratio, NOTHING_AIM)
        }
        Tool::Agent if arm.matching.is_all() => Finding::at_least(what, ratio, ALL_AIM),
        Tool::Agent | Tool::Tcpdump => Finding::plain_ratio(what, ratio),
    }
}

/// Whether the agent has counted what the kernel has, and its filters let through what they should.
fn account(trials: &Trials, report: &mut Report) {
    let (mut passed, mut miscounted, mut mismatched) = (0, 0, 0);
    for (arm, trials) in ARMS.iter().zip(trials).filter(|(arm, _)| arm.tool == Tool::Agent) {
        for (trial, tally) in trials.iter().filter_map(|trial| Some((trial, trial.tally?))) {
            passed += trial.passed;
            miscounted += trial.passed.abs_diff(tally.seen);
            mismatched += trial.wanted(arm.matching).abs_diff(tally.matched);
        }
    }
    report.note(&format!("Packets that passed while the agent looked on: {passed}."));
    report.add(Finding::exactly("of those, not seen", miscounted as f64, "packets", 0.0));
    report.add(Finding::exactly("matched amiss", mismatched as f64, "packets", 0.0));
}
