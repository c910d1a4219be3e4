//! Packets that a firewall has dropped. The kernel tells neither the rule nor the chain: what a rule has
//! counted does, or that nothing else can have been it.

use std::collections::BTreeMap;

use super::lost;
use crate::{
    collect,
    diagnose::{Case, Certainty, End, Facts, Finding, checks::firewall},
    firewall::Rule,
    inventory::Namespace,
};

/// What the kernel calls it.
const REASON: &str = "netfilter_drop";

/// So many ends, and so many rules, are told of one by one.
const TOLD: usize = 4;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut ends: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for end in case.ends() {
        if let Some(packets) = collect::by_reason(case.drops(end.id)).get(REASON) {
            ends.entry(end.id.netns).or_default().push((end, *packets));
        }
    }
    ends.into_values().filter_map(|ends| in_namespace(case, ends)).collect()
}

fn in_namespace(case: &Case<'_>, mut ends: Vec<(End<'_>, u64)>) -> Option<Finding> {
    ends.sort_by_key(|(end, packets)| (std::cmp::Reverse(*packets), case.order(end)));
    let (first, _) = ends.first()?;
    let netns = first.netns;
    // A chain that lets nothing through is told of already.
    if firewall::closed_in(case, netns) {
        return None;
    }
    let facts = case.facts(netns)?;
    let suspects = suspects(case, netns, facts);
    let named: Vec<_> = suspects.iter().filter(|(_, used)| *used).map(|(rule, _)| *rule).collect();
    let all: Vec<_> = suspects.iter().map(|(rule, _)| *rule).collect();
    let now = ends.iter().map(|(_, packets)| packets).sum();
    let lost_there = Lost { before: facts.dropped_before.unwrap_or(now).min(now), now };
    let culprit = lost_there.culprit(&all).filter(|(rule, _)| named.contains(rule));
    let label = case.label(netns);
    let mut finding = match (culprit, named.as_slice()) {
        (_, []) => return None,
        (Some((rule, certainty)), _) => {
            let what = format!("a firewall in {label} drops packets: {}", rule.name);
            let mut finding = Finding::warning("firewall", first.id, what).only(certainty);
            // What stands in another chain may have dropped as well.
            let remove =
                rule.remove.as_ref().filter(|_| all.iter().all(|it| it.place == rule.place));
            finding.mend.extend(remove.map(|remove| case.inside(netns, remove)));
            finding
        }
        (None, named) => {
            let what =
                format!("a firewall in {label} has dropped packets; what can: {}", list(named));
            Finding::warning("firewall", first.id, what).only(Certainty::Possible)
        }
    };
    for (end, packets) in ends.iter().take(TOLD) {
        finding = finding.because(lost(case, end, REASON, *packets), "skb:kfree_skb");
    }
    finding.others = ends.iter().skip(1).map(|(end, _)| end.id).collect();
    Some(match culprit {
        Some((Rule { packets: Some(packets), .. }, _)) => {
            finding.because(format!("it has taken {packets}"), "NFT_MSG_GETRULE")
        }
        Some(_) => finding.because("it does not count, and nothing else can", "NFT_MSG_GETRULE"),
        None => finding
            .because("no counter tells by which, and what is gone may have", "NFT_MSG_GETRULE"),
    })
}

/// What can have dropped in a namespace, and whether that is of a family that its pairs use.
fn suspects<'r>(case: &Case<'_>, netns: &Namespace, facts: &'r Facts) -> Vec<(&'r Rule, bool)> {
    let crossed = |rule: &Rule, used| {
        rule.met.iter().any(|place| firewall::is_crossed(case, netns, facts, place, used))
    };
    let rules = facts.firewall.rules.iter();
    let rules = rules.filter(|rule| rule.packets != Some(0) && crossed(rule, false));
    rules.map(|rule| (rule, crossed(rule, true))).collect()
}

/// How many packets firewalls had dropped when `doctor` began to look, and when it had.
#[derive(Clone, Copy)]
struct Lost {
    before: u64,
    now: u64,
}

impl Lost {
    /// Whose work it is, of all that can have dropped. What is gone may have dropped, too, but not now.
    fn culprit<'r>(self, suspects: &[&'r Rule]) -> Option<(&'r Rule, Certainty)> {
        let goes_on = self.now > self.before;
        if let [only] = suspects {
            return match only.packets {
                Some(packets) if self.is_all(packets) => Some((only, Certainty::Certain)),
                Some(packets) if packets > self.now => Some((only, Certainty::Likely)),
                _ => goes_on.then_some((only, Certainty::Likely)),
            };
        }
        let mut counted =
            suspects.iter().filter(|rule| rule.packets.is_some_and(|it| self.is_all(it)));
        let rule = counted.next().filter(|_| counted.next().is_none())?;
        let alone = |it: &&Rule| it.packets.is_some() || it.is_rule() && it.place == rule.place;
        suspects.iter().all(alone).then_some((rule, Certainty::Likely))
    }

    /// Whether so many are all that were dropped. They are counted in between.
    const fn is_all(self, packets: u64) -> bool {
        self.before <= packets && packets <= self.now
    }
}

fn list(rules: &[&Rule]) -> String {
    let mut names: Vec<_> = rules.iter().take(TOLD).map(|rule| rule.name.clone()).collect();
    if rules.len() > TOLD {
        names.push(format!("{} more", rules.len() - TOLD));
    }
    names.join("; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rule(place: &str, handle: Option<u64>, packets: Option<u64>) -> Rule {
        Rule {
            name: format!("{place} {handle:?}"),
            place: place.to_owned(),
            met: BTreeSet::new(),
            handle,
            packets,
            takes_all: false,
            remove: handle.map(|_| "remove".to_owned()),
        }
    }

    /// Who is blamed for so many drops, and how surely.
    fn blamed(before: u64, now: u64, rules: &[Rule]) -> Option<(usize, Certainty)> {
        let all: Vec<_> = rules.iter().collect();
        let (culprit, certainty) = Lost { before, now }.culprit(&all)?;
        Some((rules.iter().position(|rule| rule == culprit)?, certainty))
    }

    #[test]
    fn only_who_accounts_for_all_is_blamed() {
        let [counts, silent, policy, elsewhere] = [
            rule("c", Some(1), Some(3)),
            rule("c", Some(2), None),
            rule("c", None, None),
            rule("d", Some(3), None),
        ];
        let one = std::slice::from_ref;
        assert_eq!(blamed(3, 3, one(&counts)), Some((0, Certainty::Certain)));
        assert_eq!(blamed(2, 3, one(&counts)), Some((0, Certainty::Certain)));
        assert_eq!(blamed(2, 2, one(&counts)), Some((0, Certainty::Likely)));
        // Others of those 4 were dropped by what is gone, unless it goes on.
        assert_eq!(blamed(4, 4, one(&counts)), None);
        assert_eq!(blamed(4, 5, one(&counts)), Some((0, Certainty::Likely)));
        assert_eq!(blamed(3, 3, one(&silent)), None);
        assert_eq!(blamed(3, 4, one(&silent)), Some((0, Certainty::Likely)));
        let among = |other: &Rule| blamed(3, 3, &[other.clone(), counts.clone()]);
        assert_eq!(among(&silent), Some((1, Certainty::Likely)));
        assert_eq!(among(&policy), None);
        assert_eq!(among(&elsewhere), None);
        assert_eq!(among(&rule("d", Some(4), Some(9))), Some((1, Certainty::Likely)));
        assert_eq!(among(&rule("c", Some(4), Some(3))), None);
    }
}
