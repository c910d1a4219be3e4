//! What a benchmark found, for people and for programs.

use std::{fmt, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::stats::Ratio;
use crate::workspace;

/// `target/bench`: results, and what the last run worked with.
pub fn folder() -> Result<PathBuf> {
    let folder = workspace::root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A session is too noisy when two copies of one arm differ by more.
const NOISE: f64 = 0.02;

/// One figure, and how it stands to its aim.
pub struct Finding {
    what: String,
    figure: String,
    aim: String,
    verdict: &'static str,
    json: Value,
}

impl Finding {
    /// A ratio that should be at most `aim`; met when the lower end of its interval is.
    pub fn ratio(what: &str, ratio: Ratio, aim: f64) -> Self {
        let verdict = if ratio.low <= aim { "met" } else { "MISSED" };
        Self::of_ratio(what, ratio, format!("<= {aim}"), verdict)
    }

    /// A ratio that should be at least `aim`; met when the lower end of its interval is.
    pub fn at_least(what: &str, ratio: Ratio, aim: f64) -> Self {
        let verdict = if ratio.low >= aim { "met" } else { "MISSED" };
        Self::of_ratio(what, ratio, format!(">= {aim}"), verdict)
    }

    /// A figure that should be exactly `aim`.
    pub fn exactly(what: &str, value: f64, unit: &str, aim: f64) -> Self {
        // Both are quotients of whole numbers.
        let verdict = if (value - aim).abs() < 1e-9 { "met" } else { "MISSED" };
        Self { aim: format!("= {aim} {unit}"), verdict, ..Self::plain(what, value, unit) }
    }

    /// A ratio of two copies of one arm: must hold 1, and stay near it.
    pub fn control(what: &str, ratio: Ratio) -> Self {
        let quiet = ratio.low >= 1.0 - NOISE && ratio.high <= 1.0 + NOISE;
        let holds = ratio.low <= 1.0 && ratio.high >= 1.0;
        let verdict = if quiet && holds { "quiet" } else { "TOO NOISY" };
        Self::of_ratio(what, ratio, format!("1 +- {NOISE}"), verdict)
    }

    /// A ratio without an aim.
    pub fn plain_ratio(what: &str, ratio: Ratio) -> Self {
        Self::of_ratio(what, ratio, String::new(), "")
    }

    fn of_ratio(what: &str, ratio: Ratio, aim: String, verdict: &'static str) -> Self {
        let figure = format!("{:.3} [{:.3}, {:.3}]", ratio.value, ratio.low, ratio.high);
        Self { what: what.to_owned(), figure, aim, verdict, json: ratio.json() }
    }

    /// A figure that should be at most `aim`.
    pub fn at_most(what: &str, value: f64, unit: &str, aim: f64) -> Self {
        let verdict = if value <= aim { "met" } else { "MISSED" };
        Self { aim: format!("<= {aim} {unit}"), verdict, ..Self::plain(what, value, unit) }
    }

    /// A figure without an aim.
    pub fn plain(what: &str, value: f64, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            figure: format!("{value:.3} {unit}"),
            aim: String::new(),
            verdict: "",
            json: json!({ "value": value, "unit": unit }),
        }
    }

    fn json(&self) -> Value {
        let mut json = self.json.clone();
        json["what"] = self.what.as_str().into();
        json["aim"] = self.aim.as_str().into();
        json["verdict"] = self.verdict.into();
        json
    }
}

/// Everything that one benchmark found.
pub struct Report {
    name: &'static str,
    settings: Map<String, Value>,
    samples: Map<String, Value>,
    notes: Vec<String>,
    findings: Vec<Finding>,
}

impl Report {
    /// An empty report.
    pub fn new(name: &'static str) -> Self {
        let (settings, samples) = (Map::new(), Map::new());
        Self { name, settings, samples, notes: Vec::new(), findings: Vec::new() }
    }

    /// Which benchmark it is of.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the benchmark was asked for.
    pub fn setting(&mut self, name: &str, value: usize) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Raw values, for the file.
    pub fn samples(&mut self, name: &str, values: &[f64]) {
        self.samples.insert(name.to_owned(), json!(values));
    }

    /// A line for the reader.
    pub fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// A row of the table.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// As a page of Markdown shows it.
    pub fn markdown(&self) -> String {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!("Linux {}, {cpus} CPUs.\n\n", kernel());
        for note in &self.notes {
            text += &format!("{note}\n");
        }
        text += "\n| what | figure [95 % interval] | aim | |\n|---|---:|---|---|\n";
        for Finding { what, figure, aim, verdict, .. } in &self.findings {
            text += &format!("| {what} | {figure} | {aim} | {verdict} |\n");
        }
        text
    }

    /// Puts it into `docs/performance.md`, where a comment says `mark`, after the command that made it.
    pub fn write_docs(&self, mark: &str, command: &str) -> Result<()> {
        let page = workspace::root().join("docs/performance.md");
        let text = fs::read_to_string(&page).with_context(|| format!("{}", page.display()))?;
        let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
        let place = || format!("docs/performance.md has no place for {mark}");
        let (head, rest) = text.split_once(&begin).with_context(place)?;
        let (_, tail) = rest.split_once(&end).with_context(place)?;
        let text = format!("{head}{begin}`{command}`: {}{end}{tail}", self.markdown());
        fs::write(&page, text).with_context(|| format!("{}", page.display()))
    }

    /// Writes `target/bench/NAME.json`.
    pub fn write(&self) -> Result<()> {
        let file = folder()?.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(&self.json())?;
        fs::write(&file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("written to {}", file.display());
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "schema_version": 1,
            "bench": self.name,
            "kernel": kernel(),
            "cpus": std::thread::available_parallelism().map_or(0, usize::from),
            "settings": self.settings,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "notes": self.notes,
            "samples": self.samples,
        })
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        writeln!(f, "bench {}: Linux {}, {cpus} CPUs", self.name, kernel())?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        writeln!(f)?;
        for Finding { what, figure, aim, verdict, .. } in &self.findings {
            let row = format!("{what:<36} {figure:>20}  {aim:<9} {verdict}");
            writeln!(f, "{}", row.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_when_the_lower_end_meets_it() {
        let ratio = |low, high| Ratio { value: f64::midpoint(low, high), low, high };
        assert_eq!(Finding::ratio("x", ratio(0.9, 1.2), 1.0).verdict, "met");
        assert_eq!(Finding::ratio("x", ratio(1.01, 1.2), 1.0).verdict, "MISSED");
        assert_eq!(Finding::at_least("x", ratio(0.97, 1.2), 0.97).verdict, "met");
        assert_eq!(Finding::at_least("x", ratio(0.96, 1.2), 0.97).verdict, "MISSED");
        assert_eq!(Finding::exactly("x", 1.0, "", 1.0).verdict, "met");
        assert_eq!(Finding::exactly("x", 1.001, "", 1.0).verdict, "MISSED");
        assert_eq!(Finding::control("x", ratio(0.99, 1.01)).verdict, "quiet");
        assert_eq!(Finding::control("x", ratio(0.97, 1.01)).verdict, "TOO NOISY");
        assert_eq!(Finding::control("x", ratio(1.005, 1.015)).verdict, "TOO NOISY");
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let mut report = Report::new("test");
        let ratio = Ratio { value: 1.0, low: 0.5, high: 1.5 };
        report.add(Finding::control("ready, 1000 pairs, 1001 namespaces", ratio));
        assert!(report.to_string().lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn the_file_has_the_verdicts_and_the_samples() {
        let mut report = Report::new("test");
        report.samples("seconds", &[1.0, 2.0]);
        report.add(Finding::at_most("x", 0.5, "s", 1.0));
        let json = report.json();
        assert_eq!(json["findings"][0]["verdict"], "met");
        assert_eq!(json["samples"]["seconds"][1], 2.0);
    }
}
