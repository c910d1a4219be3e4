//! Neighbours that do not answer, or that are sent to where they are not.

use std::net::IpAddr;

use crate::{
    diagnose::{Case, Certainty, End, Finding, Neighbour, NeighbourState, has_routes},
    shell::quote,
    types::MacAddr,
};

/// An entry that failed so many seconds ago tells of another time: who goes on asking makes it anew
/// every three (`mcast_solicit`, `retrans_time_ms`).
const RECENT: u32 = 5;

/// `arp_ignore` and `rp_filter` (`Documentation/networking/ip-sysctl.rst`).
const ANSWERS_NONE: u8 = 8;
const STRICT: u8 = 1;

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let bridges = case.bridges.iter().filter_map(|bridge| case.end(bridge.id()));
    let bridges = bridges.filter(|bridge| !case.beyond(bridge).is_empty());
    let mut found: Vec<_> = case
        .ends()
        .chain(bridges)
        .filter(|end| end.carries() && !end.serves_another() && !end.link.arp)
        .filter(|end| end.addresses().next().is_some() && is_asked(case, end))
        .map(|end| silent(case, &end))
        .collect();
    for (cookie, facts) in case.facts {
        let Some(netns) = case.snapshot.namespaces.get(cookie) else { continue };
        for neighbour in &facts.neighbours {
            if let Some(end) = case.end(netns.end(neighbour.dev)) {
                found.extend(
                    owner(case, &end, neighbour)
                        .and_then(|owner| of_neighbour(case, &end, neighbour, &owner)),
                );
            }
        }
    }
    found
}

/// Whether somebody on the other side of an end would have to ask it, or it them. Who were told of each
/// other for good need not, and what a program does with their packets is not known.
fn is_asked(case: &Case<'_>, end: &End<'_>) -> bool {
    let beyond: Vec<_> = case.beyond(end).into_iter().filter_map(|far| case.end(far)).collect();
    let near = [Some(*end), case.peer(end)].into_iter().flatten();
    let mut known = near.chain(beyond.iter().copied());
    !known.any(|link| case.is_in_other_hands(&link))
        && !beyond.iter().any(|far| is_told_of(case, end, far) && is_told_of(case, far, end))
        && beyond.iter().any(|far| far.addresses().next().is_some() || has_routes(far))
}

/// Whether an operator said who has an address of another.
fn is_told_of(case: &Case<'_>, end: &End<'_>, other: &End<'_>) -> bool {
    let neighbours = case.facts(end.netns).into_iter().flat_map(|facts| &facts.neighbours);
    let mut told = neighbours.filter(|it| it.dev == end.id.ifindex && other.has(it.address));
    told.any(|it| it.state == NeighbourState::Permanent)
}

/// An end that neither asks nor answers.
fn silent(case: &Case<'_>, end: &End<'_>) -> Finding {
    let what = format!("{} answers no ARP", case.name_of(end));
    Finding::error("neighbour", end.id, what)
        .because("IFF_NOARP is set", "RTM_GETLINK")
        .mended_by(case.ip(end.netns, &format!("link set dev {} arp on", end.word())))
}

/// Who has the address, on the other side of a link.
fn owner<'a>(case: &Case<'a>, end: &End<'_>, neighbour: &Neighbour) -> Option<End<'a>> {
    let beyond = case.beyond(end);
    case.owners(neighbour.address).find(|owner| beyond.contains(&owner.id) && owner.carries())
}

fn of_neighbour(
    case: &Case<'_>,
    end: &End<'_>,
    neighbour: &Neighbour,
    owner: &End<'_>,
) -> Option<Finding> {
    let mac = owner.link.mac?;
    let mut finding = match neighbour.state {
        NeighbourState::Permanent if neighbour.mac != Some(mac) => {
            misled(case, end, neighbour, owner, mac)
        }
        // An end without ARP is a finding of its own.
        NeighbourState::Unanswered { age } if age <= RECENT && owner.link.arp => {
            unanswered(case, end, neighbour, owner, age)
        }
        _ => return None,
    };
    finding.others.push(owner.id);
    Some(finding)
}

fn misled(
    case: &Case<'_>,
    end: &End<'_>,
    neighbour: &Neighbour,
    owner: &End<'_>,
    mac: MacAddr,
) -> Finding {
    let address = neighbour.address;
    let what = format!("{} sends to a wrong MAC for {address}", case.name_of(end));
    let told = neighbour.mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    let command =
        format!("neighbour replace {address} lladdr {mac} dev {} nud permanent", end.word());
    Finding::error("neighbour", end.id, what)
        .because(format!("a permanent entry says {told}"), "RTM_GETNEIGH")
        .because(format!("{} has {mac}", case.name_of(owner)), "IFLA_ADDRESS")
        .mended_by(case.ip(end.netns, &command))
}

fn unanswered(
    case: &Case<'_>,
    end: &End<'_>,
    neighbour: &Neighbour,
    owner: &End<'_>,
    age: u32,
) -> Finding {
    let address = neighbour.address;
    let what = format!("{} gets no answer from {address}", case.name_of(end));
    let command = format!("neighbour flush to {address} dev {}", end.word());
    let mut finding = Finding::warning("neighbour", end.id, what)
        .because(format!("asked in vain {age} s ago"), "RTM_GETNEIGH")
        .because(format!("{} has it", case.name_of(owner)), "RTM_GETADDR")
        .only(Certainty::Likely);
    match why_not(case, owner, address) {
        Some((fact, source, command)) => {
            finding = finding.because(fact, source).mended_by(command);
        }
        // What comes in by a wrong way is not answered, either, and asking anew is in vain.
        None if is_strict(case, owner) => {}
        None => finding = finding.mended_by(case.ip(end.netns, &command)),
    }
    // Whatever else is wrong on the way is why.
    for end in [end, owner] {
        let peer = case.peer(end);
        let bridge = peer.and_then(|peer| Some(peer.netns.end(peer.link.master?)));
        finding
            .explained_by
            .extend([Some(end.id), peer.map(|peer| peer.id), bridge].into_iter().flatten());
    }
    finding
}

/// A setting by which a link does not answer for its own address: what, by what it is known, and the mend.
fn why_not(
    case: &Case<'_>,
    owner: &End<'_>,
    address: IpAddr,
) -> Option<(String, &'static str, String)> {
    if address.is_ipv6() {
        return None;
    }
    if owner.link.switches.arp_ignore == ANSWERS_NONE {
        let switch = format!("net/ipv4/conf/{}/arp_ignore", owner.link.name);
        let command = case.inside(owner.netns, &format!("sysctl -w {}=0", quote(&switch)));
        return Some((format!("{switch} is {ANSWERS_NONE}"), "/proc/sys", command));
    }
    let port = case.peer(owner).filter(|it| it.link.port.is_some_and(|it| it.no_broadcasts))?;
    let command = format!("link set dev {} bcast_flood on", port.word());
    let fact = format!("{} is sent no broadcasts", case.name_of(&port));
    Some((fact, "IFLA_BRPORT_BCAST_FLOOD", case.bridge_tool(port.netns, &command)))
}

fn is_strict(case: &Case<'_>, owner: &End<'_>) -> bool {
    let all = case.facts(owner.netns).map_or(0, |facts| facts.rp_filter);
    owner.link.switches.rp_filter.max(all) == STRICT
}
