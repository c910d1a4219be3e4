//! `cargo xtask test`: every test of the project. Goes on after a failure and names all of them at
//! the end.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    process,
    setup::{self, Group},
    toolchain::find_command,
    verifier, vm, workspace,
};

/// What to test.
#[derive(clap::Args)]
pub struct Args {
    /// Passed to every test binary, as in `cargo test -- ARGS`; with any, formatting and lints are
    /// left out.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// A command of the test run, and the name under which it is reported.
struct Step {
    name: &'static str,
    command: Command,
}

/// A step that has run.
struct Outcome {
    name: &'static str,
    took: Duration,
    failure: Option<anyhow::Error>,
}

/// Runs every step and fails if one of them did.
pub fn main(args: &Args) -> Result<()> {
    setup::install(&[Group::Build, Group::Test])?;
    let runner = root_runner()?;
    let mut outcomes = Vec::new();
    if args.filter.is_empty() {
        outcomes.extend(lints().into_iter().map(run));
    }
    outcomes.extend(unit_tests(&args.filter).into_iter().map(run));
    outcomes.extend(integration_tests(&args.filter, runner));
    if args.filter.is_empty() {
        outcomes.extend(other_kernels());
    }
    report(&outcomes)
}

fn lints() -> Vec<Step> {
    vec![
        step("format", "fmt --all --check", &[]),
        // Its binaries are for the kernel alone; the compiler's lints see them when they are built.
        step("clippy", "clippy --workspace --exclude veth-ebpf --all-targets -- -D warnings", &[]),
        step("clippy veth-ebpf", "clippy --package veth-ebpf --lib --tests -- -D warnings", &[]),
    ]
}

fn unit_tests(filter: &[String]) -> Vec<Step> {
    let test = "test --no-fail-fast --workspace --exclude veth-ebpf --exclude veth-tests";
    vec![
        step("unit and doc tests", test, filter),
        step("unit tests of veth-ebpf", "test --no-fail-fast --package veth-ebpf --lib", filter),
        step("doc tests of veth-ebpf", "test --package veth-ebpf --doc", filter),
    ]
}

/// The release binary, and the tests that run it in real namespaces.
fn integration_tests(filter: &[String], runner: Option<(String, String)>) -> Vec<Outcome> {
    let mut agent = None;
    let built = timed("release build", || {
        agent = Some(workspace::build_agent()?);
        Ok(())
    });
    let mut outcomes = vec![built];
    if let Some(agent) = agent {
        let skipped = tempfile::NamedTempFile::new();
        let mut step = integration_step(&agent, filter, runner);
        if let Ok(file) = &skipped {
            step.command.env(veth_vm::SKIPPED_VARIABLE, file.path());
        }
        outcomes.push(run(step));
        tell_skipped(skipped.and_then(|file| fs::read_to_string(file.path())));
    }
    outcomes
}

/// Tests that did not run, by the feature that this kernel lacks: a line of the file each.
fn tell_skipped(file: std::io::Result<String>) {
    let mut skipped = BTreeMap::new();
    match &file {
        Ok(text) => text.lines().for_each(|feature| *skipped.entry(feature).or_insert(0) += 1),
        Err(error) => eprintln!("test: what was skipped is not known: {error}"),
    }
    for (feature, tests) in skipped {
        eprintln!("test: {tests} skipped, because this kernel has no {feature}");
    }
}

/// What this kernel's verifier says, and the quick set on other kernels.
fn other_kernels() -> Vec<Outcome> {
    let verifier = timed("verifier", || verifier::check(&verifier::on_host()?));
    if !vm::available() {
        eprintln!("test: left out: other kernels, which come from Debian's packages for x86-64");
        return vec![verifier];
    }
    vec![verifier, timed("quick tests on other kernels", vm::quick)]
}

fn integration_step(agent: &Path, filter: &[String], runner: Option<(String, String)>) -> Step {
    let mut step = step("integration tests", "test --no-fail-fast --package veth-tests", filter);
    step.command.env("VETH_AGENT", agent).envs(runner);
    step
}

/// A step that runs cargo with the words of `line`, and `-- FILTER` behind them.
fn step(name: &'static str, line: &str, filter: &[String]) -> Step {
    let mut command = workspace::cargo();
    command.args(line.split_whitespace());
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    Step { name, command }
}

/// For an ordinary user: the variable that makes cargo run the test binaries, and nothing else, as
/// root, so that nothing in `target/` comes to belong to root.
fn root_runner() -> Result<Option<(String, String)>> {
    if process::is_root() {
        return Ok(None);
    }
    if find_command("sudo").is_none() {
        bail!("the integration tests need root, and there is no sudo: run this as root");
    }
    let host = workspace::host()?.to_uppercase().replace('-', "_");
    Ok(Some((format!("CARGO_TARGET_{host}_RUNNER"), "sudo -E".to_owned())))
}

fn run(mut step: Step) -> Outcome {
    eprintln!("test: {}: {}", step.name, process::display(&step.command));
    timed(step.name, || process::run(&mut step.command))
}

fn timed(name: &'static str, work: impl FnOnce() -> Result<()>) -> Outcome {
    let start = Instant::now();
    let failure = work().err();
    if let Some(error) = &failure {
        eprintln!("test: {name}: {error:#}");
    }
    Outcome { name, took: start.elapsed(), failure }
}

/// The closing summary.
fn report(outcomes: &[Outcome]) -> Result<()> {
    eprintln!();
    for Outcome { name, took, failure } in outcomes {
        let mark = if failure.is_some() { "FAILED" } else { "ok" };
        eprintln!("test: {mark:6} {:>7.1} s  {name}", took.as_secs_f64());
    }
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.failure.is_some()).map(|o| o.name).collect();
    if !failed.is_empty() {
        bail!("{} of {} steps failed: {}", failed.len(), outcomes.len(), failed.join(", "));
    }
    eprintln!("test: all {} steps passed", outcomes.len());
    Ok(())
}
