//! What is counted of packets that do not fit: to the last one, and nothing else.

mod errors;
mod fragments;
mod oversize;

use anyhow::{Context as _, Result};
use veth_agent::types::EndId;
use veth_common::{
    config::Limits,
    counters::Direction::{Rx, Tx},
    endpoint::EndKey,
    mtu::{
        Family::{Ipv4, Ipv6},
        Figure, MtuCounters,
    },
};
use veth_tests::{Agent, Node, Page};

use crate::{
    counts::End,
    fastpath::{SOON, Shape, fast, here, make_pods, maps},
};

/// Everything that is counted of one end.
const FIGURES: [Figure; 12] = [
    Figure::Oversize(Rx),
    Figure::Oversize(Tx),
    Figure::Fragment(Ipv4, Rx),
    Figure::Fragment(Ipv4, Tx),
    Figure::Fragment(Ipv6, Rx),
    Figure::Fragment(Ipv6, Tx),
    Figure::Error(Ipv4, Rx),
    Figure::Error(Ipv4, Tx),
    Figure::Error(Ipv6, Rx),
    Figure::Error(Ipv6, Tx),
    Figure::Reached(Ipv4),
    Figure::Reached(Ipv6),
];

/// The ends of the pods and of the host.
pub const ENDS: [End<'_>; 4] = [("red", "r1"), ("host", "r0"), ("host", "b0"), ("blue", "b1")];

/// Both datapaths whose packets pass TC.
pub const DATAPATHS: [&str; 2] = ["observe", "tc"];

/// Makes two pods and starts the agent; with `tc` they talk by the fast path.
pub fn pods(node: &Node, shape: Shape, datapath: &str) -> Result<Agent> {
    make_pods(node, shape, datapath)?;
    let daemon = Agent::start(node, "")?;
    if datapath == "tc" {
        fast(node, &daemon)?;
    }
    Ok(daemon)
}

/// What the page says of an end.
pub fn seen(page: &Page, (netns, interface): End<'_>) -> Result<MtuCounters> {
    let mut counters = MtuCounters::default();
    for figure in FIGURES {
        let (name, direction, family) = match figure {
            Figure::Oversize(way) => ("oversize_packets", Some(way), None),
            Figure::Fragment(family, way) => ("fragments", Some(way), Some(family)),
            Figure::Error(family, way) => ("icmp_mtu_errors", Some(way), Some(family)),
            Figure::Reached(family) => ("icmp_mtu_errors_reached", None, Some(family)),
        };
        let mut labels = vec![("netns", netns), ("interface", interface)];
        labels.extend(direction.map(|way| ("direction", way.as_str())));
        labels.extend(family.map(|family| ("family", family.as_str())));
        let value = page.value(&format!("veth_agent_{name}_total"), &labels)?;
        counters.by_place[figure.place()] = value as u64;
    }
    Ok(counters)
}

/// So much of each figure, and nothing else.
pub fn only(figures: &[(Figure, u64)]) -> MtuCounters {
    let mut counters = MtuCounters::default();
    for (figure, count) in figures {
        counters.by_place[figure.place()] = *count;
    }
    counters
}

/// What each of `ends` saw of `traffic`, once the page says what is `expected`.
pub fn sees<const N: usize>(
    node: &Node,
    daemon: &Agent,
    ends: [End<'_>; N],
    expected: [MtuCounters; N],
    traffic: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let all = || -> Result<Vec<MtuCounters>> {
        let page = daemon.page()?;
        ends.iter().map(|end| seen(&page, *end)).collect()
    };
    let before = all()?;
    traffic()?;
    let mut found = Vec::new();
    // Answers may be on their way still, and what is too much shows by the time the rest has come.
    let complete = node.eventually("all is counted", SOON, || {
        found = all()?.into_iter().zip(&before).map(|(now, then)| since(now, *then)).collect();
        Ok((found == expected).then_some(()))
    });
    complete.with_context(|| {
        let lines = ends.iter().zip(found.iter().zip(&expected));
        let lines = lines.filter(|(_, (found, expected))| found != expected);
        let line = |(end, (found, expected)): (&End<'_>, (&MtuCounters, &MtuCounters))| {
            format!("{end:?}: {:?}, expected {:?}", found.by_place, expected.by_place)
        };
        lines.map(line).collect::<Vec<_>>().join("; ")
    })
}

fn since(now: MtuCounters, then: MtuCounters) -> MtuCounters {
    let mut since = now;
    for (now, then) in since.by_place.iter_mut().zip(then.by_place) {
        *now -= then;
    }
    since
}

/// The identity of an end.
pub fn identity(node: &Node, (netns, interface): End<'_>) -> Result<EndId> {
    if netns == "host" { here(interface) } else { node.within(netns, || here(interface)) }
}

/// Waits until the programs of an end compare with these sizes.
pub fn limits(node: &Node, end: End<'_>, rx: u32, tx: u32) -> Result<()> {
    let mut found = Limits::default();
    let waited = node.eventually("the programs know", SOON, || {
        let maps = maps()?;
        let key = EndKey::from(identity(node, end)?);
        let Ok(slot) = maps.ends.get(&key, 0) else { return Ok(None) };
        found = maps.configs.get(&slot.slot, 0)?.limits;
        Ok((found == Limits { rx, tx }).then_some(()))
    });
    waited.with_context(|| format!("{end:?} has {found:?}, not {rx} and {tx}"))
}

/// Waits until no address is redirected to behind a near end that takes other packets than these.
pub fn redirects_up_to(node: &Node, near: &str, mtu: u32) -> Result<()> {
    let ifindex = here(near)?.ifindex.0;
    node.eventually("the fast path knows", SOON, || {
        let endpoints = maps()?.endpoints.iter().collect::<Result<Vec<_>, _>>()?;
        let behind = endpoints.iter().filter(|(_, endpoint)| endpoint.ifindex == ifindex);
        Ok(behind.clone().all(|(_, endpoint)| endpoint.mtu == mtu).then_some(()))
    })
}
