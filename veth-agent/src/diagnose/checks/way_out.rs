//! Namespaces that others reach through their host, and that have no route back.

use crate::diagnose::{Case, Certainty, End, Finding, way_out};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let ends = case.ends().filter(|end| end.carries() && end.addresses().next().is_some());
    ends.flat_map(|end| [true, false].map(|ipv4| no_way_back(case, &end, ipv4))).flatten().collect()
}

fn no_way_back<'a>(case: &Case<'a>, end: &End<'a>, ipv4: bool) -> Option<Finding> {
    let own = end.addresses().find(|net| net.addr().is_ipv4() == ipv4)?.addr();
    let way = way_out::lacking(case, end, ipv4)?;
    let (sender, to) = (case.name(way.sender.end), way.to);
    let Err(refusal) = case.facts(end.netns)?.routes.get(&to)? else { return None };
    let beside = to != way.sender.address;
    let what = if beside {
        format!("{} has no route to {to}, and so to nobody beyond its host", case.label(end.netns))
    } else {
        format!("{} has no route to {to}, which can send to it", case.label(end.netns))
    };
    let told = if beside {
        format!("{sender}, on the same bridge, sends by {}", way.gateway)
    } else {
        format!("{sender} sends to {own} by a host that forwards")
    };
    let certainty = if beside { Certainty::Possible } else { Certainty::Likely };
    let mut finding = Finding::error("route", end.id, what)
        .because(format!("{to}: {}", refusal.0), "RTM_GETROUTE")
        .because(told, "RTM_GETROUTE")
        .only(certainty)
        .mended_by(way_out::command(case, end, &way));
    finding.others.push(way.sender.end);
    Some(finding)
}
