//! What the benchmarks of packets are asked for, and what they leave.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::report::Report;
use crate::agent::Agent;

/// How much to measure.
#[derive(clap::Args)]
pub struct Rounds {
    /// Rounds; each does everything once in every way, in random order.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=1000))]
    runs: u16,
    /// How long one trial lasts, in milliseconds.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u16).range(50..=10_000))]
    milliseconds: u16,
    /// Write the table into `docs/performance.md`.
    #[arg(long)]
    docs: bool,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

impl Rounds {
    /// How many rounds.
    pub fn runs(&self) -> usize {
        self.runs.into()
    }

    /// How long one trial lasts.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.milliseconds.into())
    }

    /// The binary to measure, where one is named.
    pub fn binary(&self) -> Option<&Path> {
        self.agent.as_deref()
    }

    /// The agent to measure.
    pub fn agent(&self) -> Result<Agent> {
        let binary = self.agent.clone().context("no --agent: start this through cargo xtask")?;
        Ok(Agent::new(binary))
    }

    /// An empty report.
    pub fn report(&self, bench: &'static str) -> Report {
        let mut report = Report::new(bench);
        report.setting("runs", self.runs.into());
        report.setting("milliseconds", self.milliseconds.into());
        report
    }

    /// Prints the report and writes its file and, where that is asked for, into the page at `mark`.
    pub fn publish(&self, report: &Report, mark: &str) -> Result<()> {
        println!("{report}");
        report.write()?;
        if !self.docs {
            return Ok(());
        }
        let Self { runs, milliseconds, .. } = self;
        let bench = report.name();
        let command =
            format!("cargo xtask bench {bench} --runs {runs} --milliseconds {milliseconds} --docs");
        report.write_docs(mark, &command)
    }
}
