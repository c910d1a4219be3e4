//! Packets that a firewall or a program has dropped: how many, who, and where. A cause that is not there
//! any more is not told of, however much it took.

use super::firewall;
use crate::{
    collect::Drops,
    diagnose::{Case, Certainty, End, Finding, count_of},
    firewall::Rule,
};

/// What the programs of TC are told by, and the words for their hook.
const TC: [(&str, &str); 2] = [("tc_ingress", "ingress"), ("tc_egress", "egress")];

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    case.ends()
        .flat_map(|end| {
            let drops = case.drops(end.id).iter();
            drops.filter_map(move |drops| of_drops(case, &end, drops)).collect::<Vec<_>>()
        })
        .collect()
}

fn of_drops(case: &Case<'_>, end: &End<'_>, drops: &Drops) -> Option<Finding> {
    if drops.reason == "netfilter_drop" {
        return by_firewall(case, end, drops);
    }
    if drops.reason == "xdp" {
        return by_xdp(case, end, drops);
    }
    let (_, hook) = TC.iter().find(|(reason, _)| *reason == drops.reason)?;
    by_program(case, end, drops, hook)
}

fn by_firewall(case: &Case<'_>, end: &End<'_>, drops: &Drops) -> Option<Finding> {
    let rules = &case.facts(end.netns)?.firewall.rules;
    // A chain that lets nothing through is told of already.
    if firewall::closed_in(case, end.netns) {
        return None;
    }
    let counting: Vec<_> = rules.iter().filter(|rule| rule.packets > Some(0)).collect();
    let silent: Vec<_> = rules.iter().filter(|rule| rule.packets.is_none()).collect();
    let (rule, certainty) = suspect(&counting, &silent)?;
    let what = format!("a firewall in {} drops packets: {}", case.label(end.netns), rule.name);
    let mut finding = Finding::warning("firewall", end.id, what)
        .because(lost(case, end, drops), "skb:kfree_skb")
        .only(certainty)
        .mended_by(case.inside(end.netns, &rule.remove));
    if let Some(packets) = rule.packets {
        finding = finding.because(format!("the rule has taken {packets}"), "NFT_MSG_GETRULE");
    }
    Some(finding)
}

/// Whose work it is: a rule that says so itself, or else one that does not count.
fn suspect<'r>(counting: &[&'r Rule], silent: &[&'r Rule]) -> Option<(&'r Rule, Certainty)> {
    match (counting, silent) {
        ([only], []) => Some((only, Certainty::Certain)),
        ([], [only]) => Some((only, Certainty::Likely)),
        ([most @ .., last], _) => {
            let most = most.iter().chain([last]).max_by_key(|rule| rule.packets)?;
            Some((most, Certainty::Possible))
        }
        ([], [first, ..]) => Some((first, Certainty::Possible)),
        ([], []) => None,
    }
}

fn by_program(case: &Case<'_>, end: &End<'_>, drops: &Drops, hook: &str) -> Option<Finding> {
    let hooks = case.facts(end.netns)?.hooks.get(&end.id.ifindex)?;
    let others: Vec<_> = match hook {
        "ingress" => hooks.ahead_on_ingress.iter().chain(&hooks.behind_on_ingress).collect(),
        _ => hooks.beside_on_egress.iter().collect(),
    };
    let first = others.first()?;
    let what = format!("on {} {hook}, {first} drops packets", case.name_of(end));
    let certainty = if others.len() == 1 { Certainty::Certain } else { Certainty::Possible };
    let finding = Finding::warning("program", end.id, what)
        .because(lost(case, end, drops), "skb:kfree_skb")
        .only(certainty);
    Some(match first.strip_prefix("filter at priority ") {
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

fn by_xdp(case: &Case<'_>, end: &End<'_>, drops: &Drops) -> Option<Finding> {
    let program = end.link.xdp?;
    let what = format!("on {}, XDP program {program} drops packets", case.name_of(end));
    let finding =
        Finding::warning("program", end.id, what).because(lost(case, end, drops), "skb:kfree_skb");
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

fn lost(case: &Case<'_>, end: &End<'_>, drops: &Drops) -> String {
    let packets = count_of(drops.packets, "packet");
    format!("{packets} of {} dropped as {}", case.name_of(end), drops.reason)
}
