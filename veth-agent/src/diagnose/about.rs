//! What a name on the command line stands for.

use std::collections::BTreeSet;

use super::{Case, Certainty, Evidence, Finding, Severity};
use crate::types::{EndId, NetnsCookie};

/// A pair, or the ends in a namespace, that somebody asked for.
#[derive(Clone, Debug)]
pub struct About {
    name: String,
    ends: BTreeSet<EndId>,
    namespaces: BTreeSet<NetnsCookie>,
    /// What lies at the other ends of the cables of these namespaces.
    beyond: BTreeSet<EndId>,
}

/// What `name` stands for: a pair, a namespace, or neither.
#[must_use]
pub fn about(case: &Case<'_>, name: &str) -> About {
    let named =
        case.snapshot.namespaces.values().filter(|netns| {
            case.label(netns) == name || netns.names.iter().any(|known| known == name)
        });
    let namespaces: BTreeSet<_> = named.map(|netns| netns.cookie).collect();
    let pairs = case.pairs.iter().filter(|pair| pair.name == name);
    let mut ends: BTreeSet<_> = pairs.flat_map(|pair| pair.ends().collect::<Vec<_>>()).collect();
    ends.extend(case.snapshot.ends().filter(|end| namespaces.contains(&end.netns)));
    let own = case.snapshot.ends().filter(|end| namespaces.contains(&end.netns));
    let peers = own.filter_map(|end| case.peer(&case.end(end)?));
    let beyond = peers.flat_map(|peer| {
        [Some(peer.id), case.bridge(&peer).map(|bridge| bridge.id())].into_iter().flatten()
    });
    let beyond = beyond.collect();
    About { name: name.to_owned(), ends, namespaces, beyond }
}

impl About {
    /// Whether a finding is about it.
    #[must_use]
    pub fn concerns(&self, finding: &Finding) -> bool {
        let asked =
            |link: &EndId| self.ends.contains(link) || self.namespaces.contains(&link.netns);
        let beyond = finding.link.is_some_and(|link| self.beyond.contains(&link));
        beyond || finding.pair.as_ref() == Some(&self.name) || finding.links().any(asked)
    }

    /// Whether nothing of that name was seen.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.ends.is_empty() && self.namespaces.is_empty()
    }

    /// The finding that there is no such thing.
    #[must_use]
    pub fn missing(&self) -> Option<Finding> {
        let evidence = Evidence {
            fact: "a deleted end, or namespace, takes both ends with it".to_owned(),
            source: "drivers/net/veth.c".to_owned(),
        };
        self.is_unknown().then(|| Finding {
            check: "gone",
            severity: Severity::Error,
            certainty: Certainty::Certain,
            link: None,
            others: Vec::new(),
            explained_by: BTreeSet::new(),
            pair: Some(self.name.clone()),
            what: format!("there is no pair and no namespace {:?}", self.name),
            evidence: vec![evidence],
            mend: vec!["veth-agent apply -f FILE".to_owned()],
        })
    }
}
