//! `veth-agent doctor`.

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Serialize;

use super::{
    Failure, drops_view::DropsView, escape, netns_view::NetnsView, print, say, say_unseen,
    seen_hooks,
};
use crate::{
    cli::{DoctorArgs, StatusOutput},
    datapath::Pins,
    diagnose::{self, Case, Certainty, Counted, Evidence, Finding, Severity, count_of},
    inventory::Snapshot,
    types::EndId,
};

/// Prints what is wrong.
pub fn doctor(pins: &Pins, args: &DoctorArgs) -> Result<(), Failure> {
    let snapshot = diagnose::picture().map_err(Failure::failed)?;
    let hooks = seen_hooks(pins, &snapshot);
    let facts = diagnose::gather(pins, &snapshot, &hooks);
    let counted = diagnose::count(pins, &snapshot).unwrap_or_else(|error| {
        say(&format!("what was counted cannot be seen: {error}; run it as root"));
        Counted::default()
    });
    let case = Case::new(&snapshot, &facts, &counted);
    let mut findings = diagnose::diagnose(&case);
    if let Some(name) = &args.name {
        let about = diagnose::about(&case, name);
        findings.retain(|finding| about.concerns(finding));
        if about.is_unknown() && !snapshot.unseen.is_empty() {
            say_unseen(&snapshot);
            let unknown = format!("whether there is a pair or a namespace {name:?} is not known");
            return Err(Failure::failed(unknown));
        }
        findings.extend(about.missing());
    }
    let unread = facts.values().flat_map(|facts| facts.unread.iter().cloned()).collect();
    let mut document = Document::new(&case, &findings, unread, DropsView::take(pins));
    let text = match args.output {
        StatusOutput::Json => {
            document.unread.extend(snapshot.unseen.iter().map(|unseen| unseen.reason.clone()));
            serde_json::to_string(&document).map_err(Failure::failed)? + "\n"
        }
        StatusOutput::Table => document.text(),
    };
    say_unseen(&snapshot);
    print(text.as_bytes())?;
    if findings.is_empty() { Ok(()) } else { Err(Failure::Found) }
}

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    pairs: usize,
    namespaces: usize,
    findings: Vec<FindingView>,
    /// What could not be read, and why: nothing is known of it.
    unread: BTreeSet<String>,
    /// Whether there is a count of drops to go by.
    drops: DropsView,
}

#[derive(Serialize)]
struct FindingView {
    check: &'static str,
    severity: Severity,
    certainty: Certainty,
    pair: Option<String>,
    netns: Option<NetnsView>,
    interface: Option<String>,
    what: String,
    evidence: Vec<Evidence>,
    /// For a shell; several commands are joined by `&&`.
    mend: Option<String>,
    #[serde(skip)]
    commands: Vec<String>,
}

impl Document {
    fn new(
        case: &Case<'_>,
        findings: &[Finding],
        unread: BTreeSet<String>,
        drops: DropsView,
    ) -> Self {
        let snapshot = case.snapshot;
        Self {
            schema_version: 1,
            pairs: case.pairs.len(),
            namespaces: snapshot.namespaces.len(),
            findings: findings.iter().map(|it| FindingView::new(snapshot, it)).collect(),
            unread,
            drops,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            text.push_str(&finding.text());
            text.push('\n');
        }
        for unread in &self.unread {
            // Writing into a string does not fail.
            let _ = writeln!(text, "not known: {}", escape(unread));
        }
        if !self.drops.counted() {
            text.push_str(&self.drops.line());
        }
        let pairs = count_of(self.pairs as u64, "pair");
        let namespaces = count_of(self.namespaces as u64, "namespace");
        let _ = match self.findings.len() {
            0 => writeln!(text, "nothing wrong with {pairs} in {namespaces}"),
            found => {
                writeln!(text, "{} in {pairs}, {namespaces}", count_of(found as u64, "problem"))
            }
        };
        text
    }
}

impl FindingView {
    fn new(snapshot: &Snapshot, finding: &Finding) -> Self {
        let of = |link: EndId| Some((snapshot.namespaces.get(&link.netns)?, link));
        let place = finding.link.and_then(of);
        let interface = place.and_then(|(netns, link)| netns.links.get(&link.ifindex));
        Self {
            check: finding.check,
            severity: finding.severity,
            certainty: finding.certainty,
            pair: finding.pair.clone(),
            netns: place.map(|(netns, _)| NetnsView::new(snapshot, netns)),
            interface: interface.map(|link| link.name.clone()),
            what: finding.what.clone(),
            evidence: finding.evidence.clone(),
            mend: (!finding.mend.is_empty()).then(|| finding.mend.join(" && ")),
            commands: finding.mend.clone(),
        }
    }

    /// A line for what is wrong, one for each piece of evidence, and one for each command.
    fn text(&self) -> String {
        let mut text = String::new();
        let certainty = match self.certainty {
            Certainty::Certain => String::new(),
            less => format!(" ({})", less.as_str()),
        };
        let severity = self.severity.as_str();
        // Writing into a string does not fail.
        let _ = writeln!(text, "{severity}: {}{certainty}", escape(&self.what));
        for Evidence { fact, source } in &self.evidence {
            let _ = writeln!(text, "  {}  [{source}]", escape(fact));
        }
        for command in &self.commands {
            let _ = writeln!(text, "  mend: {}", escape(command));
        }
        text
    }
}
