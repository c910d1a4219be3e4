//! Namespaces that others reach through their host, and that have no route back.

use crate::diagnose::{Case, Certainty, End, Finding, way_out};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let ends = case.ends().filter(|end| end.carries() && end.addresses().next().is_some());
    ends.flat_map(|end| [true, false].map(|ipv4| no_way_back(case, &end, ipv4))).flatten().collect()
}

fn no_way_back<'a>(case: &Case<'a>, end: &End<'a>, ipv4: bool) -> Option<Finding> {
    let own = end.addresses().find(|net| net.addr().is_ipv4() == ipv4)?.addr();
    let way = way_out::lacking(case, end, ipv4)?;
    let (sender, to) = (case.name(way.sender.end), way.sender.address);
    let Err(refusal) = case.facts(end.netns)?.routes.get(&to)? else { return None };
    let what = format!("{} has no route to {to}, which can send to it", case.label(end.netns));
    let mut finding = Finding::error("route", end.id, what)
        .because(format!("{to}: {}", refusal.0), "RTM_GETROUTE")
        .because(format!("{sender} sends to {own} by a host that forwards"), "RTM_GETROUTE")
        .only(Certainty::Likely)
        .mended_by(way_out::command(case, end, &way));
    finding.others.push(way.sender.end);
    Some(finding)
}
