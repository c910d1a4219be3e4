//! Queueing disciplines that drop.

use crate::diagnose::{Case, Certainty, End, Finding, Qdisc};

/// These drop to keep queues short, and say so: one packet in a hundred is their work.
const MANAGE_QUEUES: [&str; 8] = ["cake", "codel", "fq", "fq_codel", "fq_pie", "pie", "red", "sfq"];
const MANAGED_SHARE: u64 = 100;

/// Hooks for programs and filters, not queues: see the check `hook`.
const HOOKS: [&str; 2] = ["clsact", "ingress"];

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
    let drops = u64::from(qdisc.drops);
    !HOOKS.contains(&kind)
        && (!MANAGE_QUEUES.contains(&kind) || drops * MANAGED_SHARE > qdisc.sent + drops)
}

fn drops_all(case: &Case<'_>, end: &End<'_>) -> Finding {
    let what = format!("{} drops all that it sends: its qdisc is noop", case.name_of(end));
    let link = end.word();
    Finding::error("qdisc", end.id, what)
        .because("qdisc noop on an end with a carrier", "IFLA_QDISC")
        .mended_by(case.ip(end.netns, &format!("link set dev {link} down")))
        .mended_by(case.ip(end.netns, &format!("link set dev {link} up")))
}

fn full(case: &Case<'_>, end: &End<'_>, qdisc: &Qdisc) -> Finding {
    let Qdisc { kind, sent, drops, queued, .. } = qdisc;
    let what = format!("the qdisc {kind} of {} drops what it has no room for", case.name_of(end));
    Finding::warning("qdisc", end.id, what)
        .because(format!("{drops} dropped, {sent} sent, {queued} waiting"), "TCA_STATS2")
        .only(Certainty::Likely)
        .mended_by(case.tc(end.netns, &format!("qdisc del dev {} root", end.word())))
}
