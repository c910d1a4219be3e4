//! Why it does not work. What is there is looked at once ([`gather`]); then each check, a pure function
//! in a file of its own, says what is wrong, by what it knows that, and how to mend it.

mod about;
mod case;
mod checks;
mod expect;
mod facts;
mod finding;
mod gather;
mod next_hop;
mod way_out;

use std::collections::BTreeSet;

pub use about::{About, about};
pub use case::{Case, End, is_link_local};
pub use expect::{Expectation, borrowed_sources, expectations, has_routes};
pub use facts::{
    Counted, Facts, Firewall, Neighbour, NeighbourState, PathMtu, Qdisc, Refusal, Way,
};
pub use finding::{Certainty, Evidence, Finding, Severity, count_of};
pub use gather::{count, gather, picture};

/// All that is wrong, the worst first.
#[must_use]
pub fn diagnose(case: &Case<'_>) -> Vec<Finding> {
    let checks = checks::ALL.iter();
    let mut found: Vec<_> =
        checks.flat_map(|check| check(case)).map(|finding| case.of_pair(finding)).collect();
    let causes: BTreeSet<_> = found
        .iter()
        .filter(|finding| finding.explained_by.is_empty())
        .flat_map(|finding| finding.links().copied().collect::<Vec<_>>())
        .collect();
    found.retain(|finding| finding.explained_by.is_disjoint(&causes));
    found.sort_by(|one, other| (one.severity, &one.what).cmp(&(other.severity, &other.what)));
    found
}
