//! Queueing disciplines that drop.

use crate::diagnose::{Case, Certainty, End, Finding, Qdisc};

/// These drop to keep queues short, and say so: one packet in a hundred is their work.
const MANAGE_QUEUES: [&str; 8] = ["cake", "codel", "fq", "fq_codel", "fq_pie", "pie", "red", "sfq"];
const MANAGED_SHARE: u64 = 100;

/// These hold to a rate, and drop whatever comes faster: one packet in ten is their work. More may be meant
/// so, too.
const SHAPE: [&str; 3] = ["hfsc", "htb", "tbf"];
const SHAPED_SHARE: u64 = 10;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let ends: Vec<_> = case.ends().collect();
    let noop = ends.iter().filter(|end| end.carries());
    let noop = noop.filter(|end| end.link.qdisc.as_deref() == Some("noop"));
    let full = ends.iter().flat_map(|end| {
        let qdiscs = case.facts(end.netns).into_iter().flat_map(|facts| &facts.qdiscs);
        let own = qdiscs.filter(|qdisc| qdisc.dev == end.id.ifindex && qdisc.root);
        own.filter(|qdisc| drops_too_much(qdisc)).map(|qdisc| full(case, end, qdisc))
    });
    noop.map(|end| drops_all(case, end)).chain(full).collect()
}

fn drops_too_much(qdisc: &Qdisc) -> bool {
    let kind = qdisc.kind.as_str();
    let (drops, all) = (u64::from(qdisc.drops), qdisc.sent + u64::from(qdisc.drops));
    let allowed = match kind {
        // What drops there is a program: see the check `dropped`.
        _ if qdisc.is_hook() => return false,
        _ if SHAPE.contains(&kind) => all / SHAPED_SHARE,
        _ if MANAGE_QUEUES.contains(&kind) => all / MANAGED_SHARE,
        _ => 0,
    };
    drops > allowed
}

fn drops_all(case: &Case<'_>, end: &End<'_>) -> Finding {
    let what = format!("{} drops all that it sends: its qdisc is noop", case.name_of(end));
    Finding::error("qdisc", end.id, what)
        .because("qdisc noop on an end with a carrier", "IFLA_QDISC")
        .mended_by(case.tc(end.netns, &format!("qdisc replace dev {} root noqueue", end.word())))
}

fn full(case: &Case<'_>, end: &End<'_>, qdisc: &Qdisc) -> Finding {
    let Qdisc { kind, sent, drops, queued, .. } = qdisc;
    let what = format!("the qdisc {kind} of {} drops what it has no room for", case.name_of(end));
    let finding = Finding::warning("qdisc", end.id, what)
        .because(format!("{drops} dropped, {sent} sent, {queued} waiting"), "TCA_STATS2");
    if SHAPE.contains(&kind.as_str()) {
        // Somebody wants the limit.
        return finding.only(Certainty::Possible);
    }
    finding
        .only(Certainty::Likely)
        .mended_by(case.tc(end.netns, &format!("qdisc del dev {} root", end.word())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        diagnose::{Counted, Severity},
        inventory::{
            Link, LinkKind,
            crafted::{link, netns, snapshot},
        },
    };

    /// The kernel's own `noop`, which `tc` cannot make: what an end has before its carrier is heard of.
    #[test]
    fn an_end_with_a_carrier_and_noop_drops_all() {
        let said = |carrier, kind: &str| {
            let qdisc = Some(kind.to_owned());
            let end = Link { carrier, qdisc, ..link(2, LinkKind::Veth, 1500, &[]) };
            let picture = snapshot([netns(1, vec![end], &[])], &[]);
            let (facts, counted) = (BTreeMap::new(), Counted::default());
            check(&Case::new(&picture, &facts, &counted))
        };
        let found = said(true, "noop");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].mend, ["tc qdisc replace dev link2 root noqueue"]);
        assert_eq!(said(true, "noqueue"), []);
        assert_eq!(said(false, "noop"), []);
    }
    #[test]
    fn a_shaper_may_drop_a_tenth() {
        let qdisc = |kind: &str, sent, drops| Qdisc {
            dev: crate::types::IfIndex(2),
            kind: kind.to_owned(),
            root: true,
            sent,
            drops,
            queued: 0,
        };
        assert!(!drops_too_much(&qdisc("tbf", 900, 100)));
        assert!(drops_too_much(&qdisc("tbf", 900, 101)));
        assert!(!drops_too_much(&qdisc("fq_codel", 990, 10)));
        assert!(drops_too_much(&qdisc("fq_codel", 989, 11)));
        assert!(drops_too_much(&qdisc("pfifo", 999, 1)));
        assert!(!drops_too_much(&qdisc("clsact", 1, 99)));
    }
}
