//! Runs each test in a process of its own: one that hangs or kills its process is one failure, and
//! the exit status is the result.

use std::{
    collections::VecDeque,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use crate::job::{Event, Job, Outcome, Program, Suite, TestEnd, TestName};

/// Names the file to which a test appends the features for want of which it did not run, one a
/// line.
pub const SKIPPED_VARIABLE: &str = "VETH_TESTS_SKIPPED";

/// How much of what a test says is reported: its end.
const SAID_LIMIT: u64 = 32 << 10;

/// Does `job` and hands each event to `tell`. Files go below `scratch`.
///
/// # Errors
/// When the tests cannot be listed, or `tell` fails.
pub fn run(
    job: &Job,
    kernel: &str,
    scratch: &Path,
    mut tell: impl FnMut(&Event) -> Result<()>,
) -> Result<()> {
    let mut tests = VecDeque::new();
    for suite in &job.suites {
        let names = list(suite, &job.arguments)?;
        tests.extend(names.into_iter().map(|name| (suite, name)));
    }
    let names = tests.iter().map(|(suite, name)| test_name(suite, name)).collect();
    tell(&Event::Began { kernel: kernel.to_owned(), tests: names })?;
    for program in &job.programs {
        tell(&ran(job, program, scratch)?)?;
    }
    let queue = Mutex::new(tests);
    thread::scope(|scope| {
        let (events, told) = mpsc::channel();
        for worker in 0..job.parallel.max(1) {
            let (queue, events) = (&queue, events.clone());
            let scratch = scratch.join(format!("worker{worker}"));
            scope.spawn(move || work(job, queue, &scratch, &events));
        }
        drop(events);
        told.iter().try_for_each(|event| tell(&event))
    })?;
    tell(&Event::Finished)
}

fn test_name(suite: &Suite, name: &str) -> TestName {
    TestName { suite: suite.name.clone(), name: name.to_owned() }
}

/// The tests of a suite that the arguments choose.
fn list(suite: &Suite, arguments: &[String]) -> Result<Vec<String>> {
    let mut command = Command::new(&suite.binary);
    command.args(["--list", "--format", "terse"]).args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| suite.binary.display().to_string())?;
    ensure!(output.status.success(), "{}: {}", suite.name, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn work(
    job: &Job,
    queue: &Mutex<VecDeque<(&Suite, String)>>,
    scratch: &Path,
    events: &mpsc::Sender<Event>,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((suite, name)) = next else { return };
        let test = test_name(suite, &name);
        // Nobody listens any more only when the whole run has failed.
        let _ = events.send(Event::Started { test: test.clone() });
        let started = Instant::now();
        let outcome = test_outcome(job, suite, &name, scratch)
            .unwrap_or_else(|error| Outcome::Failed { said: format!("{error:#}") });
        let seconds = started.elapsed().as_secs_f64();
        let _ = events.send(Event::Ended(TestEnd { test, seconds, outcome }));
    }
}

fn test_outcome(job: &Job, suite: &Suite, name: &str, scratch: &Path) -> Result<Outcome> {
    std::fs::create_dir_all(scratch)?;
    let skipped = scratch.join("skipped");
    File::create(&skipped)?;
    let mut command = Command::new(&suite.binary);
    command.args(["--exact", name, "--nocapture", "--include-ignored"]);
    command.envs(&job.environment).env(SKIPPED_VARIABLE, &skipped);
    let end = run_within(command, Duration::from_secs(job.limit), scratch)?;
    let lacking: Vec<_> = std::fs::read_to_string(&skipped)?.lines().map(str::to_owned).collect();
    Ok(match end.status {
        None => Outcome::TimedOut { said: end.said },
        Some(status) if !status.success() => Outcome::Failed { said: end.said },
        Some(_) if lacking.is_empty() => Outcome::Passed,
        Some(_) => Outcome::Skipped { lacking },
    })
}

fn ran(job: &Job, program: &Program, scratch: &Path) -> Result<Event> {
    let scratch = scratch.join("program");
    std::fs::create_dir_all(&scratch)?;
    let (first, rest) = program.words.split_first().context("an empty command line")?;
    let mut command = Command::new(first);
    command.args(rest).envs(&job.environment);
    let end = run_within(command, Duration::from_secs(job.limit), &scratch)?;
    let printed = std::fs::read_to_string(scratch.join("stdout"))?;
    let success = end.status.is_some_and(|status| status.success());
    Ok(Event::Ran { name: program.name.clone(), success, printed, said: end.said })
}

/// How a process ended; `None` where it had to be killed.
struct End {
    status: Option<ExitStatus>,
    said: String,
}

/// Runs a command with its output in files, which nothing that it leaves behind can hold open.
fn run_within(mut command: Command, limit: Duration, scratch: &Path) -> Result<End> {
    let (out, said) = (scratch.join("stdout"), scratch.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&said)?);
    let mut child = command.process_group(0).spawn().with_context(|| format!("{command:?}"))?;
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit)?;
    let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? > 0;
    if !ended {
        kill_process_group(pid, Signal::KILL)?;
    }
    let status = child.wait()?;
    let said = tail(&said)? + &tail(&out)?;
    Ok(End { status: ended.then_some(status), said })
}

/// The end of a file.
fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SAID_LIMIT)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

    use super::*;

    /// Stands in for a test binary: a script that lists its tests and runs one.
    const SUITE: &str = r#"#!/bin/sh
case "$1" in
    --list) printf 'good: test\nbad: test\nslow: test\nunfit: test\nbench: benchmark\n' ;;
    --exact) case "$2" in
        good) ;;
        bad) echo why >&2; exit 101 ;;
        slow) echo waiting; exec sleep 1000 ;;
        unfit) echo TCX >>"$VETH_TESTS_SKIPPED" ;;
    esac ;;
esac
"#;

    fn outcomes(parallel: usize) -> Result<BTreeMap<String, Outcome>> {
        let scratch = tempfile::tempdir()?;
        let binary = scratch.path().join("suite");
        std::fs::write(&binary, SUITE)?;
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o700))?;
        let suites = vec![Suite { name: "suite".to_owned(), binary }];
        let job = Job { suites, limit: 1, parallel, ..Job::default() };
        let (mut outcomes, mut finished) = (BTreeMap::new(), false);
        run(&job, "test", scratch.path(), |event| {
            match event {
                Event::Began { tests, .. } => assert_eq!(tests.len(), 4),
                Event::Ended(end) => {
                    _ = outcomes.insert(end.test.name.clone(), end.outcome.clone())
                }
                Event::Finished => finished = true,
                _ => {}
            }
            Ok(())
        })?;
        assert!(finished);
        Ok(outcomes)
    }

    #[test]
    fn each_test_has_the_outcome_of_its_own_process() -> Result<()> {
        for parallel in [1, 3] {
            let outcomes = outcomes(parallel)?;
            assert_eq!(outcomes["good"], Outcome::Passed);
            assert_eq!(outcomes["bad"], Outcome::Failed { said: "why\n".to_owned() });
            assert_eq!(outcomes["slow"], Outcome::TimedOut { said: "waiting\n".to_owned() });
            assert_eq!(outcomes["unfit"], Outcome::Skipped { lacking: vec!["TCX".to_owned()] });
            assert_eq!(outcomes.len(), 4);
        }
        Ok(())
    }
}
