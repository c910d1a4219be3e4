//! Packets that a firewall or a program has dropped: how many, who, and where. A cause that is not there
//! any more is not told of, however much it took.

mod by_firewall;

use super::hook;
use crate::{
    collect,
    diagnose::{Case, Certainty, End, Finding, count_of},
};

/// What the programs of TC are told by, and the words for their hook.
const TC: [(&str, &str); 2] = [("tc_ingress", "ingress"), ("tc_egress", "egress")];

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = by_firewall::check(case);
    for end in case.ends() {
        for (reason, packets) in collect::by_reason(case.drops(end.id)) {
            found.extend(of_drops(case, &end, &reason, packets));
        }
    }
    found
}

fn of_drops(case: &Case<'_>, end: &End<'_>, reason: &str, packets: u64) -> Option<Finding> {
    let lost = lost(case, end, reason, packets);
    if reason == "xdp" {
        return by_xdp(case, end, lost);
    }
    let (_, hook) = TC.iter().find(|(known, _)| *known == reason)?;
    by_program(case, end, lost, hook)
}

fn by_program(case: &Case<'_>, end: &End<'_>, lost: String, hook: &str) -> Option<Finding> {
    let hooks = case.facts(end.netns)?.hooks.get(&end.id.ifindex)?;
    let others: Vec<_> = match hook {
        "ingress" => hooks.ahead_on_ingress.iter().chain(&hooks.behind_on_ingress).collect(),
        _ => hooks.beside_on_egress.iter().collect(),
    };
    let first = others.first()?;
    let what = format!("on {} {hook}, {first} drops packets", case.name_of(end));
    let finding = Finding::warning("program", end.id, what).because(lost, "skb:kfree_skb");
    // Which of several it was, nobody tells.
    if others.len() > 1 {
        return Some(finding.only(Certainty::Possible));
    }
    Some(match hook::priority_of(first) {
        Some(priority) => {
            let command = format!("filter del dev {} {hook} pref {priority}", end.word());
            finding.mended_by(case.tc(end.netns, &command))
        }
        None => match link_of(case, end, first) {
            Some(link) => finding.mended_by(format!("bpftool link detach id {link}")),
            None => finding,
        },
    })
}

fn by_xdp(case: &Case<'_>, end: &End<'_>, lost: String) -> Option<Finding> {
    let program = end.link.xdp?;
    let what = format!("on {}, XDP program {program} drops packets", case.name_of(end));
    let finding = Finding::warning("program", end.id, what).because(lost, "skb:kfree_skb");
    let links = case.facts(end.netns)?.bpf_links.get(&program);
    Some(match links.map(Vec::as_slice) {
        Some([only]) => finding.mended_by(format!("bpftool link detach id {only}")),
        Some(_) => finding,
        // `ip`, or somebody else by netlink, has put it there.
        None => {
            let command = format!("link set dev {} xdp off", end.word());
            finding.mended_by(case.ip(end.netns, &command))
        }
    })
}

/// Id of the only link of a program that is told as `program NAME (id ID)`. Of several, the kernel does
/// not tell which one is here.
fn link_of(case: &Case<'_>, end: &End<'_>, program: &str) -> Option<u32> {
    let id: u32 = program.rsplit_once("(id ")?.1.trim_end_matches(')').parse().ok()?;
    match case.facts(end.netns)?.bpf_links.get(&id)?.as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

fn lost(case: &Case<'_>, end: &End<'_>, reason: &str, packets: u64) -> String {
    let packets = count_of(packets, "packet");
    format!("{packets} of {} dropped as {reason}", case.name_of(end))
}
