//! An end without an address, where something is to be reached by it.

use ipnet::IpNet;

use crate::diagnose::{Case, Certainty, End, Finding, has_routes};

pub fn check(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for end in case.ends().filter(|end| end.carries() && is_bare(end)) {
        let Some(peer) = case.peer(&end).filter(End::carries) else { continue };
        match (beyond(case, &peer).first(), is_bare(&peer)) {
            (Some(net), _) => found.push(of_end(case, &end, *net)),
            // Once for both.
            (None, true) if case.order(&end) < case.order(&peer) => {
                found.push(of_pair(case, &end, &peer))
            }
            _ => {}
        }
    }
    found
}

/// Neither an address nor anything else to do.
fn is_bare(end: &End<'_>) -> bool {
    end.addresses().next().is_none() && !end.serves_another() && !has_routes(end)
}

/// The subnets on the other side of a pair: the peer's, or those of its bridge and of the others there.
fn beyond(case: &Case<'_>, peer: &End<'_>) -> Vec<IpNet> {
    let Some(bridge) = case.bridge(peer) else { return peer.addresses().collect() };
    let own = case.end(bridge.id()).into_iter();
    let others = bridge.far_ends(case.snapshot).filter_map(|(_, far)| case.end(far));
    own.chain(others).flat_map(|end| end.addresses()).collect()
}

fn of_end(case: &Case<'_>, end: &End<'_>, net: IpNet) -> Finding {
    let what = format!("{} has no address", case.name_of(end));
    let finding = Finding::error("no-address", end.id, what)
        .because(format!("on the other side is {net}"), "RTM_GETADDR");
    match case.free_address(net) {
        Some(free) => {
            let command = format!("addr add {free}/{} dev {}", net.prefix_len(), end.word());
            finding.mended_by(case.ip(end.netns, &command))
        }
        // Behind a whole-address prefix there is no subnet to take one from.
        None => {
            let command = format!("route replace {} dev {}", net.addr(), end.word());
            finding.mended_by(case.ip(end.netns, &command))
        }
    }
}

fn of_pair(case: &Case<'_>, end: &End<'_>, peer: &End<'_>) -> Finding {
    let what = format!("neither {} nor {} has an address", case.name_of(end), case.name_of(peer));
    let mut finding = Finding::error("no-address", end.id, what)
        .because("only link-local ones, if any", "RTM_GETADDR")
        .only(Certainty::Likely);
    finding.others.push(peer.id);
    let Some(net) = case.unused_subnet() else { return finding };
    for (end, host) in [end, peer].into_iter().zip(net.hosts()) {
        let command = format!("addr add {host}/{} dev {}", net.prefix_len(), end.word());
        finding = finding.mended_by(case.ip(end.netns, &command));
    }
    finding
}
