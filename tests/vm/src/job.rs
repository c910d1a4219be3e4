//! The job and its events.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What a machine is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Test binaries, made by `cargo test`.
    pub suites: Vec<Suite>,
    /// What else the tests' command lines say: a filter, `--skip NAME`.
    pub arguments: Vec<String>,
    /// Programs whose output is wanted.
    pub programs: Vec<Program>,
    /// Added to the environment of all of them.
    pub environment: BTreeMap<String, String>,
    /// Seconds that one test or program may take.
    pub limit: u64,
    /// How many tests run at once.
    pub parallel: usize,
}

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name in reports.
    pub name: String,
    /// Where it is.
    pub binary: PathBuf,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its name in reports.
    pub name: String,
    /// The words of its command line.
    pub words: Vec<String>,
}

/// A test of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TestName {
    /// The suite.
    pub suite: String,
    /// Its path in the suite, as `cargo test` shows it.
    pub name: String,
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.suite, self.name)
    }
}

/// What happens on a machine, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It has booted and knows what it will run.
    Began {
        /// `uname -r`.
        kernel: String,
        /// All tests to come.
        tests: Vec<TestName>,
    },
    /// A test begins.
    Started {
        /// Which.
        test: TestName,
    },
    /// A test has ended.
    Ended(TestEnd),
    /// A program has ended.
    Ran {
        /// Its name in reports.
        name: String,
        /// Whether it succeeded.
        success: bool,
        /// What it printed on standard output.
        printed: String,
        /// What else it said.
        said: String,
    },
    /// The runner itself failed.
    Broken {
        /// Why.
        why: String,
    },
    /// All is done. Without this event, the machine has not come to its end.
    Finished,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestEnd {
    /// Which.
    pub test: TestName,
    /// Seconds that it took.
    pub seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Ways in which a test ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// It needs what this kernel lacks.
    Skipped {
        /// Names of the lacking features.
        lacking: Vec<String>,
    },
    /// It failed.
    Failed {
        /// What it said.
        said: String,
    },
    /// It was ended at its limit.
    TimedOut {
        /// What it had said.
        said: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_went_in() -> serde_json::Result<()> {
        let test = TestName { suite: "netns".to_owned(), name: "a::b".to_owned() };
        let said = "line\nline \u{1b}[31m \"quoted\"".to_owned();
        let ended = |outcome| Event::Ended(TestEnd { test: test.clone(), seconds: 0.5, outcome });
        for event in [
            Event::Began { kernel: "6.1".to_owned(), tests: vec![test.clone()] },
            ended(Outcome::Passed),
            ended(Outcome::Skipped { lacking: vec!["TCX".to_owned()] }),
            ended(Outcome::Failed { said }),
            Event::Finished,
        ] {
            let line = serde_json::to_string(&event)?;
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Event>(&line)?, event);
        }
        Ok(())
    }
}
