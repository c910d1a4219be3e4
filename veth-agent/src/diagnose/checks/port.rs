//! Ports of bridges that take part in nothing, or not with each other.

use crate::{
    diagnose::{Case, Certainty, Finding},
    inventory::{Bridge, Link, PortState},
    shell::quote,
};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let bridges = case.bridges.iter().filter(|bridge| bridge.link.admin_up);
    bridges
        .flat_map(|bridge| closed(case, bridge).into_iter().chain(isolated(case, bridge)))
        .collect()
}

fn closed(case: &Case<'_>, bridge: &Bridge<'_>) -> Vec<Finding> {
    let works = |port: &&&Link| port.admin_up && port.carrier;
    let ports = bridge.ends.iter().filter(works);
    ports.filter_map(|port| closed_port(case, bridge, port)).collect()
}

fn closed_port(case: &Case<'_>, bridge: &Bridge<'_>, link: &Link) -> Option<Finding> {
    let state = link.port.filter(|port| !port.forwarding())?.state;
    let port = case.end(bridge.netns.end(link.index))?;
    let what = format!("{} does not forward: its port is {}", case.name_of(&port), state.as_str());
    let finding = Finding::error("port-state", port.id, what).because(
        format!("port of {} in state {}", bridge.link.name, state.as_str()),
        "IFLA_BRPORT_STATE",
    );
    let passing = matches!(state, PortState::Listening | PortState::Learning);
    let command = if bridge.link.stp {
        // The spanning tree would not let anybody else set the state.
        let finding = finding.because("the bridge runs a spanning tree", "IFLA_BR_STP_STATE");
        let certainty = if passing { Certainty::Possible } else { Certainty::Likely };
        let stop = format!("link set dev {} type bridge stp_state 0", quote(&bridge.link.name));
        return Some(finding.only(certainty).mended_by(case.ip(bridge.netns, &stop)));
    } else {
        format!("link set dev {} state 3", port.word())
    };
    Some(finding.mended_by(case.bridge_tool(bridge.netns, &command)))
}

/// Isolated ports talk to all but each other.
fn isolated(case: &Case<'_>, bridge: &Bridge<'_>) -> Option<Finding> {
    let is_isolated = |port: &&Link| port.port.is_some_and(|port| port.isolated);
    let isolated: Vec<_> = bridge.ports().filter(is_isolated).collect();
    let [first, _, ..] = isolated.as_slice() else { return None };
    let names: Vec<_> = isolated.iter().map(|port| port.name.as_str()).collect();
    let what = format!(
        "ports of {} are isolated from each other: {}",
        case.name(bridge.id()),
        names.join(", ")
    );
    let mut finding = Finding::error("port-isolation", bridge.netns.end(first.index), what)
        .because(format!("{} isolated ports", isolated.len()), "IFLA_BRPORT_ISOLATED")
        .only(Certainty::Likely);
    for port in &isolated {
        let end = bridge.netns.end(port.index);
        finding.others.push(end);
        let command = format!("link set dev {} isolated off", quote(&port.name));
        finding = finding.mended_by(case.bridge_tool(bridge.netns, &command));
    }
    Some(finding)
}
