//! Ends whose other end nobody can reach any more.

use crate::diagnose::{Case, Certainty, End, Finding};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    // Where not all could be looked at, nothing can be said of what was not found.
    if !case.snapshot.unseen.is_empty() {
        return Vec::new();
    }
    case.ends()
        .filter(|end| case.peer(end).is_none())
        .filter_map(|end| leaked(case, &end))
        .collect()
}

fn leaked(case: &Case<'_>, end: &End<'_>) -> Option<Finding> {
    let nsid = end.link.peer?.nsid?;
    if !case.facts(end.netns)?.lost.contains(&end.id.ifindex) {
        return None;
    }
    let what = format!(
        "{}: its peer is in a namespace that has no name here and no process",
        case.name_of(end)
    );
    let finding = Finding::warning("leaked", end.id, what)
        .because(format!("the peer's namespace is number {nsid} here"), "IFLA_LINK_NETNSID")
        .because("no name, mount or process seen here leads into it", "/run/netns, /proc");
    // Mounts of others and open files hold a namespace, too, and what lives there may be at work.
    if end.link.carrier {
        return Some(
            finding
                .because("it has a carrier: the peer is up", "IFLA_CARRIER")
                .only(Certainty::Possible),
        );
    }
    let delete = case.ip(end.netns, &format!("link del dev {}", end.word()));
    Some(finding.only(Certainty::Likely).mended_by(delete))
}
