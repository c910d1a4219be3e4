//! An end, or a bridge with ports, that somebody has to switch on.

use crate::diagnose::{Case, End, Finding, way_out};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let ends = case.ends().filter(|end| !end.link.admin_up);
    let bridges = case.bridges.iter().filter(|bridge| bridge.ports().next().is_some());
    let bridges = bridges.filter_map(|bridge| case.end(bridge.id()));
    let bridges = bridges.filter(|bridge| !bridge.link.admin_up);
    let down = ends.map(|end| of_end(case, &end));
    down.chain(bridges.map(|bridge| of_bridge(case, &bridge))).collect()
}

fn of_end<'a>(case: &Case<'a>, end: &End<'a>) -> Finding {
    // Routes went with its state.
    let finding = way_out::mended(case, end, is_down(case, end));
    match case.peer(end) {
        Some(peer) if peer.link.admin_up => {
            finding.because(format!("{} has no carrier", case.name_of(&peer)), "RTM_GETLINK")
        }
        _ => finding,
    }
}

fn of_bridge(case: &Case<'_>, bridge: &End<'_>) -> Finding {
    is_down(case, bridge).because("it forwards nothing between its ports", "net/bridge")
}

fn is_down(case: &Case<'_>, link: &End<'_>) -> Finding {
    Finding::error("down", link.id, format!("{} is down", case.name_of(link)))
        .because("IFF_UP is not set", "RTM_GETLINK")
        .mended_by(case.ip(link.netns, &format!("link set dev {} up", link.word())))
}
