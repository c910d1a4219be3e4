//! An end that is up, and still nothing comes through.

use crate::diagnose::{Case, Certainty, End, Finding};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let silent = case.ends().filter(|end| end.link.admin_up && !end.link.carrier);
    silent.filter_map(|end| no_carrier(case, &end)).collect()
}

fn no_carrier(case: &Case<'_>, end: &End<'_>) -> Option<Finding> {
    let what = format!("{} has no carrier", case.name_of(end));
    let finding =
        Finding::error("carrier", end.id, what).because("IFLA_CARRIER is 0", "RTM_GETLINK");
    match case.peer(end) {
        // That the other end is down is a finding of its own.
        Some(peer) if !peer.link.admin_up => None,
        Some(peer) => Some(
            finding
                .because(format!("{} is up", case.name_of(&peer)), "RTM_GETLINK")
                .mended_by(case.ip(peer.netns, &format!("link set dev {} down", peer.word())))
                .mended_by(case.ip(peer.netns, &format!("link set dev {} up", peer.word()))),
        ),
        None => Some(
            finding
                .because("its peer lies in a namespace that cannot be seen", "RTM_GETLINK")
                .only(Certainty::Likely),
        ),
    }
}
