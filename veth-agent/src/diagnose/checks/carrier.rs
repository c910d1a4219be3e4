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
        // Where all was looked at, what is wrong is where the peer lies.
        None if case.snapshot.unseen.is_empty() => None,
        None => Some(
            finding
                .because("its peer lies in a namespace that cannot be seen", "RTM_GETLINK")
                .only(Certainty::Likely),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        diagnose::Counted,
        inventory::{
            Link, LinkKind,
            crafted::{end, link, netns, snapshot},
        },
    };

    /// Of veth, no carrier while both ends are up is nothing that somebody could build.
    #[test]
    fn no_carrier_is_told_where_both_ends_are_up() {
        let said = |peer_is_up, carrier| {
            let one = Link { carrier, ..link(2, LinkKind::Veth, 1500, &[]) };
            let other = Link { admin_up: peer_is_up, ..link(3, LinkKind::Veth, 1500, &[]) };
            let namespaces = [netns(1, vec![one], &[]), netns(2, vec![other], &[])];
            let picture = snapshot(namespaces, &[(end(1, 2), end(2, 3))]);
            let (facts, counted) = (BTreeMap::new(), Counted::default());
            check(&Case::new(&picture, &facts, &counted))
        };
        let found = said(true, false);
        assert_eq!(found.iter().map(|it| it.link).collect::<Vec<_>>(), [Some(end(1, 2))]);
        assert_eq!(found[0].mend.len(), 2);
        // That the other end is down is told by another check.
        assert_eq!(said(false, false), []);
        assert_eq!(said(true, true), []);
    }
}
