//! What a check says.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::types::EndId;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Packets are lost.
    Error,
    /// Packets may be lost, or are under some conditions.
    Warning,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// How sure it is that this is what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The kernel says so.
    Certain,
    /// What was seen has hardly another explanation.
    Likely,
    /// It may be meant so.
    Possible,
}

impl Certainty {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

/// So many of something, in words.
#[must_use]
pub fn count_of(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A figure, or a fact, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// The figure.
    pub fact: String,
    /// What says so: a netlink message, a file, a map.
    pub source: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub certainty: Certainty,
    /// The link that it is about.
    pub link: Option<EndId>,
    /// Other links that it concerns.
    pub others: Vec<EndId>,
    /// Where anything else is wrong with one of these links, that explains it.
    pub explained_by: BTreeSet<EndId>,
    /// The pair, where it is about one.
    pub pair: Option<String>,
    /// What is wrong, in one line.
    pub what: String,
    /// By what it is known.
    pub evidence: Vec<Evidence>,
    /// The commands that mend it, to be given in this order.
    pub mend: Vec<String>,
}

impl Finding {
    /// An error about a link, sure until said otherwise.
    #[must_use]
    pub fn error(check: &'static str, link: EndId, what: String) -> Self {
        Self {
            check,
            severity: Severity::Error,
            certainty: Certainty::Certain,
            link: Some(link),
            others: Vec::new(),
            explained_by: BTreeSet::new(),
            pair: None,
            what,
            evidence: Vec::new(),
            mend: Vec::new(),
        }
    }

    /// A warning about a link, sure until said otherwise.
    #[must_use]
    pub fn warning(check: &'static str, link: EndId, what: String) -> Self {
        Self { severity: Severity::Warning, ..Self::error(check, link, what) }
    }

    /// The same with a further piece of evidence.
    #[must_use]
    pub fn because(mut self, fact: impl Into<String>, source: impl Into<String>) -> Self {
        self.evidence.push(Evidence { fact: fact.into(), source: source.into() });
        self
    }

    /// The same with a further command that mends it.
    #[must_use]
    pub fn mended_by(mut self, command: String) -> Self {
        self.mend.push(command);
        self
    }

    /// The links that it is about.
    pub fn links(&self) -> impl Iterator<Item = &EndId> {
        self.link.iter().chain(&self.others)
    }

    /// The same, said with less confidence.
    #[must_use]
    pub const fn only(mut self, certainty: Certainty) -> Self {
        self.certainty = certainty;
        self
    }
}
