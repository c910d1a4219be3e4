//! What happened on each kernel: told to people, and written as JUnit for machines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use veth_vm::{Event, Outcome, TestEnd, TestName};

use super::kernel::Kernel;
use crate::verifier::{self, Row};

/// After how many tests a line shows that it goes on.
const PROGRESS: usize = 20;

/// What happened on one kernel.
pub struct KernelReport {
    kernel: &'static Kernel,
    release: Option<String>,
    booted: Duration,
    expected: BTreeSet<TestName>,
    started: BTreeSet<TestName>,
    ended: Vec<TestEnd>,
    printed: BTreeMap<String, String>,
    problems: Vec<String>,
    /// From fetching the kernel to the end of its machine.
    pub took: Duration,
}

impl KernelReport {
    /// Nothing has happened yet.
    pub fn new(kernel: &'static Kernel) -> Self {
        Self {
            kernel,
            release: None,
            booted: Duration::ZERO,
            expected: BTreeSet::new(),
            started: BTreeSet::new(),
            ended: Vec::new(),
            printed: BTreeMap::new(),
            problems: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Takes in what happened at `time` after power-on.
    pub fn add(&mut self, event: Event, time: Duration) {
        match event {
            Event::Began { kernel, tests } => {
                eprintln!(
                    "vm: {}: {kernel} booted in {:.1} s, {} tests",
                    self.kernel.name,
                    time.as_secs_f64(),
                    tests.len()
                );
                if !kernel.starts_with(&format!("{}.", self.kernel.name)) {
                    self.problems.push(format!("another kernel booted: {kernel}"));
                }
                self.release = Some(kernel);
                self.booted = time;
                self.expected.extend(tests);
            }
            Event::Started { test } => _ = self.started.insert(test),
            Event::Ended(end) => {
                if failure(&end.outcome).is_some() {
                    eprintln!("vm: {}: FAILED {}", self.kernel.name, end.test);
                }
                self.ended.push(end);
                if self.ended.len().is_multiple_of(PROGRESS) {
                    let (ended, seconds) = (self.ended.len(), time.as_secs());
                    eprintln!("vm: {}: {ended} tests ended, {seconds} s", self.kernel.name);
                }
            }
            Event::Ran { name, success: true, printed, .. } => {
                _ = self.printed.insert(name, printed);
            }
            Event::Ran { name, success: false, printed, said } => {
                self.problems.push(format!("{name} failed:\n{printed}{said}"));
            }
            Event::Broken { why } => self.problems.push(why),
            Event::Finished => {}
        }
    }

    /// Notes what stopped the whole machine.
    pub fn broke(&mut self, why: String) {
        eprintln!("vm: {}: {why}", self.kernel.name);
        self.problems.push(why);
    }

    /// Whether a test was named, all ended well, and nothing else went wrong.
    fn is_good(&self) -> bool {
        self.problems.is_empty()
            && self.unended().next().is_none()
            && self.ended.iter().all(|end| failure(&end.outcome).is_none())
    }

    /// Tests without an end, because the machine has not come to it, and how far they got.
    fn unended(&self) -> impl Iterator<Item = (&TestName, &'static str)> {
        let ended: BTreeSet<_> = self.ended.iter().map(|end| &end.test).collect();
        let unended = self.expected.iter().filter(move |test| !ended.contains(test));
        unended.map(|test| {
            let begun = self.started.contains(test);
            (test, if begun { "the machine ended in it" } else { "not run" })
        })
    }

    /// What a program printed here, as rows of the verifier's table; none where it did not run.
    pub fn rows(&self, program: &str) -> Result<Vec<Row>> {
        let printed = self.printed.get(program).map_or("[]", String::as_str);
        verifier::read_rows(self.kernel.name, printed)
    }

    fn count(&self, like: impl Fn(&Outcome) -> bool) -> usize {
        self.ended.iter().filter(|end| like(&end.outcome)).count()
    }

    /// One line.
    pub fn summary(&self) -> String {
        format!(
            "{} of {} tests passed, {} failed, {} skipped, {} without an end; {:.0} s",
            self.count(|outcome| *outcome == Outcome::Passed),
            self.expected.len(),
            self.count(|outcome| failure(outcome).is_some()),
            self.count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
            self.unended().count(),
            self.took.as_secs_f64(),
        )
    }

    fn junit(&self) -> TestSuite {
        let mut suite = TestSuite::new(format!("linux-{}", self.kernel.name));
        suite.set_time(self.took);
        for end in &self.ended {
            let mut case = case(&end.test, status(&end.outcome));
            case.set_time(Duration::from_secs_f64(end.seconds));
            suite.add_test_case(case);
        }
        for (test, why) in self.unended() {
            suite.add_test_case(case(test, non_success(NonSuccessKind::Error, why, "")));
        }
        for problem in &self.problems {
            let machine = TestName { suite: "vm".to_owned(), name: "machine".to_owned() };
            let first = problem.lines().next().unwrap_or_default();
            suite.add_test_case(case(&machine, non_success(NonSuccessKind::Error, first, problem)));
        }
        suite
    }

    /// All that went wrong, a paragraph each.
    fn failures(&self) -> Vec<String> {
        let name = self.kernel.name;
        let ended = self.ended.iter().filter_map(|end| {
            let (why, said) = failure(&end.outcome)?;
            Some(format!("{name}: {}: {why}\n{said}", end.test))
        });
        let unended = self.unended().map(|(test, why)| format!("{name}: {test}: {why}"));
        let problems = self.problems.iter().map(|problem| format!("{name}: {problem}"));
        ended.chain(unended).chain(problems).collect()
    }

    /// Skipped tests by what they lacked.
    fn skipped(&self) -> BTreeMap<String, Vec<&TestName>> {
        let mut skipped = BTreeMap::<_, Vec<_>>::new();
        for end in &self.ended {
            if let Outcome::Skipped { lacking } = &end.outcome {
                skipped.entry(lacking.join(", ")).or_default().push(&end.test);
            }
        }
        skipped
    }
}

fn failure(outcome: &Outcome) -> Option<(&'static str, &str)> {
    match outcome {
        Outcome::Passed | Outcome::Skipped { .. } => None,
        Outcome::Failed { said } => Some(("failed", said)),
        Outcome::TimedOut { said } => Some(("ended at its time limit", said)),
    }
}

fn case(test: &TestName, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(test.name.clone(), status);
    case.set_classname(test.suite.clone());
    case
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    if let Some((why, said)) = failure(outcome) {
        return non_success(NonSuccessKind::Failure, why, said);
    }
    if let Outcome::Skipped { lacking } = outcome {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("this kernel lacks {}", lacking.join(", ")));
        return status;
    }
    TestCaseStatus::success()
}

fn non_success(kind: NonSuccessKind, why: &str, said: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(why).set_description(said);
    status
}

/// Fails where a machine did not come to its end.
pub fn fail_on_problems(reports: &[KernelReport]) -> Result<()> {
    match reports.iter().flat_map(KernelReport::failures).next() {
        Some(first) => bail!("{first}"),
        None => Ok(()),
    }
}

/// Writes the results of all kernels, tells every failure, and fails if there is one.
pub fn tell(folder: &Path, reports: &[KernelReport]) -> Result<()> {
    let mut junit = Report::new("veth-agent on other kernels");
    junit.add_test_suites(reports.iter().map(KernelReport::junit));
    let file = folder.join("results.xml");
    fs::write(&file, junit.to_string()?).with_context(|| file.display().to_string())?;
    let failures: Vec<_> = reports.iter().flat_map(KernelReport::failures).collect();
    for failure in &failures {
        eprintln!("\n{failure}");
    }
    eprintln!();
    for report in reports {
        let mark = if report.is_good() { "ok" } else { "FAILED" };
        let release = report.release.as_deref().unwrap_or("did not boot");
        eprintln!("vm: {mark:6} {:5} {release}: {}", report.kernel.name, report.summary());
        for (lacking, tests) in report.skipped() {
            eprintln!("vm:        {:3} skipped for want of {lacking}", tests.len());
        }
    }
    eprintln!("vm: results in {}", file.display());
    let bad: Vec<_> =
        reports.iter().filter(|report| !report.is_good()).map(|r| r.kernel.name).collect();
    if !bad.is_empty() {
        bail!(
            "{} failures, on {} of {} kernels: {}",
            failures.len(),
            bad.len(),
            reports.len(),
            bad.join(", ")
        );
    }
    if reports.iter().all(|report| report.expected.is_empty()) {
        bail!("no test has such a name");
    }
    Ok(())
}
