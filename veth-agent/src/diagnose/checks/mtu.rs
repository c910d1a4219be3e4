//! Packets that are too large for a hop behind them. One finding for each hop, or for each sender where
//! the hop cannot take more.

use std::collections::BTreeMap;

use crate::{
    diagnose::{Case, End, Finding, Severity, count_of},
    inventory::{LinkKind, Route},
    mtu::{self, Kind, Mismatch},
    types::EndId,
};

/// So many senders stand in a finding's evidence.
const SHOWN: usize = 3;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut by_cause: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for mismatch in mtu::mismatches(case.snapshot) {
        by_cause.entry(cause(case, &mismatch)).or_default().push(mismatch);
    }
    by_cause.iter().filter_map(|(cause, mismatches)| finding(case, *cause, mismatches)).collect()
}

/// What has to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A hop takes too little.
    Narrow(EndId),
    /// A bridge sends more than its ports take.
    Bridge(EndId),
    /// Routes promise more than the link takes.
    Route(EndId),
    /// What a host sends on is limited, and its containers do not know.
    Exit(EndId),
}

fn cause(case: &Case<'_>, mismatch: &Mismatch) -> Cause {
    let by_bridge = case.end(mismatch.sender);
    match mismatch.kind {
        Kind::Route => Cause::Route(mismatch.end),
        Kind::Uplink => Cause::Exit(mismatch.limit),
        Kind::Bridge if by_bridge.is_some_and(|it| it.link.kind == LinkKind::Bridge) => {
            Cause::Bridge(mismatch.sender)
        }
        _ => Cause::Narrow(mismatch.limit),
    }
}

fn finding(case: &Case<'_>, cause: Cause, found: &[Mismatch]) -> Option<Finding> {
    let (narrowest, largest) =
        (found.iter().map(|it| it.takes).min()?, found.iter().map(|it| it.sends).max()?);
    let limit = case.end(found.first()?.limit)?;
    let name = case.name_of(&limit);
    let finding = match cause {
        Cause::Narrow(_) => {
            let what = format!("{name} takes {narrowest} bytes, and is sent up to {largest}");
            widen(case, &limit, found, largest, Finding::error("mtu", limit.id, what))
        }
        Cause::Bridge(bridge) => {
            let bridge = case.end(bridge)?;
            let what = format!(
                "{} sends up to {largest} bytes, and its port {} takes {narrowest}",
                case.name_of(&bridge),
                limit.link.name
            );
            let command = format!("link set dev {} mtu {narrowest}", bridge.word());
            Finding::error("mtu", bridge.id, what).mended_by(case.ip(bridge.netns, &command))
        }
        Cause::Route(_) => {
            let what = format!(
                "a route over {name} promises {largest} bytes, and the link takes {narrowest}"
            );
            let too_large = |route: &&Route| route.mtu.is_some_and(|mtu| mtu > narrowest);
            shrink_routes(
                case,
                &limit,
                narrowest,
                too_large,
                Finding::error("route-mtu", limit.id, what),
            )
        }
        Cause::Exit(_) => {
            let what = format!(
                "{name} takes {narrowest} bytes, and containers send up to {largest} by it"
            );
            let finding =
                shrink_senders(case, found, Finding::warning("uplink-mtu", limit.id, what));
            discovery(case, found, finding)
        }
    };
    Some(explain(case, found, finding))
}

/// Whether senders are told, as the programs have seen: what the host drops as too big must come back as
/// an error to whom it is about. Where it does not, large packets vanish without a word.
fn discovery(case: &Case<'_>, found: &[Mismatch], finding: Finding) -> Finding {
    let mut finding = finding;
    for sender in found.iter().filter_map(|mismatch| case.end(mismatch.sender)) {
        let name = case.name_of(&sender);
        let reached = case.errors_reached(sender.id);
        let lost = case.peer(&sender).map_or(0, |near| too_big(case, &near));
        if reached > 0 {
            let errors = count_of(reached, "ICMP error");
            let fact = format!("{errors} reached {name}: it is told");
            finding = finding.because(fact, "va_mtu");
        } else if lost > 0 {
            let packets = count_of(lost, "packet");
            let fact = format!("{packets} of {name} dropped as too big, and no error reached it");
            finding = finding.because(fact, "va_drop_counts, va_mtu");
            finding.severity = Severity::Error;
        }
    }
    finding
}

/// Packets that came in by an end and were larger than the host could send on.
fn too_big(case: &Case<'_>, near: &End<'_>) -> u64 {
    let too_big = case.drops(near.id).iter().filter(|drops| drops.reason == "pkt_too_big");
    too_big.map(|drops| drops.packets).sum()
}

/// Both values, and from where they come.
fn explain(case: &Case<'_>, found: &[Mismatch], finding: Finding) -> Finding {
    let mut finding = finding;
    for mismatch in found.iter().take(SHOWN) {
        let sender = case.name(mismatch.sender);
        let fact = format!("{sender} sends up to {} bytes", mismatch.sends);
        finding = finding.because(fact, "IFLA_MTU, RTAX_MTU");
        finding = learned(case, mismatch, finding);
    }
    if let Some(more) = found.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        finding = finding.because(format!("and {more} more"), "IFLA_MTU, RTAX_MTU");
    }
    finding.others.extend(found.iter().flat_map(|it| [it.end, it.sender, it.limit]));
    finding
}

/// What the sender's kernel has been told of the path already.
fn learned(case: &Case<'_>, mismatch: &Mismatch, finding: Finding) -> Finding {
    let facts = case.end(mismatch.sender).and_then(|sender| case.facts(sender.netns));
    let path_mtus = facts.into_iter().flat_map(|facts| &facts.path_mtus);
    let mut own = path_mtus.filter(|it| it.dev == mismatch.sender.ifindex);
    match own.next() {
        Some(path) => {
            let fact = format!("it has learned a path MTU of {} to {}", path.mtu, path.to);
            finding.because(fact, "RTM_F_CLONED")
        }
        None => finding,
    }
}

/// Lets the hop take what is sent; where the host itself sends on less, makes the senders smaller.
fn widen(
    case: &Case<'_>,
    limit: &End<'_>,
    found: &[Mismatch],
    largest: u32,
    finding: Finding,
) -> Finding {
    let cable = [Some(*limit), case.peer(limit)];
    let of_host = cable.into_iter().flatten().any(|end| {
        let exits = mtu::exits(end.netns);
        exits.iter().any(|exit| exit.ifindex != end.id.ifindex && exit.takes < largest)
    });
    let fixed = !(limit.link.kind.is_paired() || limit.link.kind == LinkKind::Bridge);
    if of_host || fixed {
        return shrink_links(case, found, finding);
    }
    // What is behind it must take as much, or the next run finds that.
    let peer = case.peer(limit).filter(|peer| peer.link.mtu < largest);
    let both = peer.into_iter().chain([*limit]);
    both.fold(finding, |finding, end| {
        let command = format!("link set dev {} mtu {largest}", end.word());
        finding.mended_by(case.ip(end.netns, &command))
    })
}

/// Makes senders, and their cables, as small as what takes their packets.
fn shrink_links(case: &Case<'_>, found: &[Mismatch], finding: Finding) -> Finding {
    let mut finding = finding;
    for mismatch in found {
        let cable = [case.end(mismatch.sender), case.end(mismatch.end)];
        for end in cable.into_iter().flatten().filter(|end| end.link.mtu > mismatch.takes) {
            let command = format!("link set dev {} mtu {}", end.word(), mismatch.takes);
            let command = case.ip(end.netns, &command);
            if !finding.mend.contains(&command) {
                finding = finding.mended_by(command);
            }
        }
    }
    finding
}

/// Gives the senders' default routes an MTU: between themselves they may go on as before.
fn shrink_senders(case: &Case<'_>, found: &[Mismatch], finding: Finding) -> Finding {
    found.iter().fold(finding, |finding, mismatch| {
        let Some(end) = case.end(mismatch.sender) else { return finding };
        let mtu = mismatch.takes;
        let host = case.snapshot.namespaces.get(&mismatch.limit.netns);
        let exits = host.map(mtu::exits).unwrap_or_default();
        let that_way = |route: &Route| {
            let family = route.to.addr().is_ipv4();
            let limit = mismatch.limit.ifindex;
            exits.iter().any(|it| it.ifindex == limit && it.takes == mtu && it.ipv4 == family)
        };
        let too_large = |route: &&Route| {
            route.is_default() && that_way(route) && route.mtu.unwrap_or(end.link.mtu) > mtu
        };
        shrink_routes(case, &end, mtu, too_large, finding)
    })
}

fn shrink_routes(
    case: &Case<'_>,
    end: &End<'_>,
    mtu: u32,
    which: impl Fn(&&Route) -> bool,
    finding: Finding,
) -> Finding {
    let routes = end.netns.routes.iter().filter(|route| route.dev == end.id.ifindex);
    let words = routes.filter(which).filter_map(|route| case.route_words(end, route));
    words.fold(finding, |finding, words| {
        let command = format!("route replace {words} mtu {mtu}");
        finding.mended_by(case.ip(end.netns, &command))
    })
}
