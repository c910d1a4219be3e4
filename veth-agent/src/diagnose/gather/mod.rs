//! Looks at each namespace, once. Changes nothing.

mod path;
mod sysctl;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use super::{Case, Counted, Facts, Firewall, expect};
use veth_common::names;

use crate::{
    collect::{self, DropReader, Drops},
    config::DEFAULT_MAX_ENDS,
    datapath::{self, DatapathError, EndHooks, Maps, Pins},
    fastpath, firewall,
    inventory::{self, Depth, DiscoverError, LinkKind, Namespace, Snapshot},
    netns,
    types::{EndId, NetnsCookie},
};

/// A namespace that is being deleted has no name any more, and takes its ends along: mostly in a moment.
const MOMENT: Duration = Duration::from_millis(500);

/// Where many are being deleted, the last one waits for all others.
const WHILE: Duration = Duration::from_secs(3);

/// Whoever is cut off tries again in the meantime: `ping` does.
const AGAIN: Duration = Duration::from_millis(1100);

/// Takes a picture with its routes; a second one, where ends are without a peer that may be about to go.
///
/// # Errors
/// When the agent's own namespace cannot be read.
pub fn picture() -> Result<Snapshot, DiscoverError> {
    let snapshot = inventory::snapshot(Depth::Routes)?;
    let lost = snapshot.ends().any(|end| snapshot.peer_of(end).is_none());
    if !lost || !snapshot.unseen.is_empty() {
        return Ok(snapshot);
    }
    thread::sleep(MOMENT);
    inventory::snapshot(Depth::Routes)
}

/// Looks at all namespaces of a snapshot that was taken with its routes. `hooks` are our programs on
/// its ends.
#[must_use]
pub fn gather(
    pins: &Pins,
    snapshot: &Snapshot,
    hooks: &BTreeMap<EndId, EndHooks>,
) -> BTreeMap<NetnsCookie, Facts> {
    let began = Instant::now();
    // The kernel's names of reasons take their time to read.
    let counting = pins.clone();
    let dropped = thread::spawn(move || dropped_by_firewalls(&counting));
    let (nothing, uncounted) = (BTreeMap::new(), Counted::default());
    let questions = expect::questions(&Case::new(snapshot, &nothing, &uncounted));
    let mut facts = BTreeMap::new();
    for netns in snapshot.namespaces.values().filter(|netns| matters(netns)) {
        let asked = questions.get(&netns.cookie);
        let looked = netns::within_known(&netns.path, netns.cookie, || {
            let mut facts = within(netns, asked);
            look_ahead(pins, netns, hooks, &mut facts);
            facts
        });
        // One that is gone by now has no facts.
        if let Ok(mut looked) = looked {
            look_for_peers(snapshot, netns, &mut looked);
            facts.insert(netns.cookie, looked);
        }
    }
    if let Ok(Some(dropped)) = dropped.join() {
        for (netns, facts) in &mut facts {
            facts.dropped_before = Some(dropped.get(netns).copied().unwrap_or(0));
        }
    }
    look_for_lost(snapshot, &mut facts);
    if facts.values().any(is_unclear) {
        thread::sleep(AGAIN.saturating_sub(began.elapsed()));
    }
    facts
}

/// What firewalls have dropped so far on account of ends, by namespace, where that is counted.
fn dropped_by_firewalls(pins: &Pins) -> Option<BTreeMap<NetnsCookie, u64>> {
    let counted = drops(pins).ok()??;
    let mut dropped = BTreeMap::new();
    for (end, drops) in counted {
        let packets = collect::by_reason(&drops).get("netfilter_drop").copied().unwrap_or(0);
        *dropped.entry(end.netns).or_default() += packets;
    }
    Some(dropped)
}

/// Whether only what is dropped in the meantime can tell who drops.
fn is_unclear(facts: &Facts) -> bool {
    let Some(dropped) = facts.dropped_before.filter(|dropped| *dropped > 0) else { return false };
    let rules = facts.firewall.rules.iter().map(|rule| rule.packets);
    let suspects: Vec<_> = rules.filter(|packets| *packets != Some(0)).collect();
    match suspects.as_slice() {
        [] => false,
        [only] => only.is_none_or(|packets| packets < dropped),
        _ => true,
    }
}

/// Reads what programs of ours have counted. Where none are, nothing is.
///
/// # Errors
/// When what is pinned cannot be read.
pub fn count(pins: &Pins, snapshot: &Snapshot) -> Result<Counted, DatapathError> {
    let Some(drops) = drops(pins)? else { return Ok(Counted::default()) };
    let maps = Maps::open(pins, DEFAULT_MAX_ENDS)?;
    let readings = snapshot.ends().map(|end| (end, collect::read(&maps, end))).collect();
    Ok(Counted { readings, drops })
}

/// What was lost, by end; `None` where no programs of ours are.
fn drops(pins: &Pins) -> Result<Option<BTreeMap<EndId, Vec<Drops>>>, DatapathError> {
    if !pins.exist() {
        return Ok(None);
    }
    let failed =
        |error| DatapathError::Map { name: names::MAP_DROP_COUNTS, source: Box::new(error) };
    let maps = Maps::open(pins, DEFAULT_MAX_ENDS)?;
    Ok(Some(DropReader::new(pins).read(&maps).map_err(failed)?.of_ends))
}

/// Whether a namespace has anything to do with pairs.
fn matters(netns: &Namespace) -> bool {
    netns.links.values().any(|link| link.kind.is_paired())
}

/// Where the other ends lie that were not seen. A namespace that was looked into may have links that cannot
/// be read: a name need not be text.
fn look_for_peers(snapshot: &Snapshot, netns: &Namespace, facts: &mut Facts) {
    let ends =
        netns.links.values().filter(|link| snapshot.peer_of(netns.end(link.index)).is_none());
    let lost: Vec<_> = ends.filter_map(|link| Some((link, link.peer?.nsid?))).collect();
    if lost.is_empty() {
        return;
    }
    facts.numbers = inventory::numbers(snapshot, netns);
    for (link, nsid) in lost {
        let lies_in = facts.numbers.get(&nsid).and_then(|cookie| snapshot.namespaces.get(cookie));
        if let Some(there) = lies_in {
            let (label, there) = (netns.label(snapshot.host), there.label(snapshot.host));
            facts.unread.insert(format!("the other end of {label}/{}, in {there}", link.name));
        }
    }
}

/// Ends without a peer that stay so: what is about to go has gone by then, and what came has its peer.
fn look_for_lost(snapshot: &Snapshot, facts: &mut BTreeMap<NetnsCookie, Facts>) {
    let nowhere = |end: &EndId| {
        let nsid = snapshot.link(*end).and_then(|link| link.peer?.nsid);
        let numbers = facts.get(&end.netns).map(|facts| &facts.numbers);
        snapshot.peer_of(*end).is_none()
            && nsid.is_some_and(|nsid| numbers.is_some_and(|known| !known.contains_key(&nsid)))
    };
    let lost: Vec<_> = snapshot.ends().filter(nowhere).collect();
    if lost.is_empty() || !snapshot.unseen.is_empty() {
        return;
    }
    thread::sleep(WHILE);
    let Ok(later) = inventory::snapshot(Depth::Routes) else { return };
    let peer = |snapshot: &Snapshot, end| snapshot.link(end).and_then(|link| link.peer);
    for end in lost {
        let stays = peer(&later, end).is_some() && peer(&later, end) == peer(snapshot, end);
        if stays && later.peer_of(end).is_none() && later.unseen.is_empty() {
            facts.entry(end.netns).or_default().lost.insert(end.ifindex);
        }
    }
}

fn within(netns: &Namespace, asked: Option<&BTreeSet<IpAddr>>) -> Facts {
    let mut facts = Facts::default();
    if may_forward(netns) {
        facts.forwards_ipv4 = sysctl::forwards_ipv4();
        facts.forwards_ipv6 = sysctl::forwards_ipv6();
        facts.rp_filter = sysctl::rp_filter();
        facts.proxy_arp = sysctl::proxy_arp();
    }
    if let Err(error) = path::ask(&mut facts, asked.into_iter().flatten().copied()) {
        facts.unread.insert(error.to_string());
    }
    facts.firewall = firewall(&mut facts.unread);
    let bridged = netns.links.values().any(|link| link.port.is_some());
    facts.bridge_calls_ip =
        bridged && facts.firewall != Firewall::default() && firewall::bridge_calls_ip();
    facts
}

/// Whether there is anything to forward between. In most namespaces there is not, and opening the files
/// of `/proc/sys` is the dearest of all questions.
fn may_forward(netns: &Namespace) -> bool {
    netns.links.values().filter(|link| link.kind != LinkKind::Loopback).count() > 1
}

fn firewall(unread: &mut BTreeSet<String>) -> Firewall {
    let chains = firewall::base_chains().unwrap_or_else(|why| {
        unread.insert(why);
        Vec::new()
    });
    // Without a base chain, no rule of any other is met.
    let nft = if chains.is_empty() { Ok(Vec::new()) } else { firewall::nft_rules(&chains) };
    let mut rules = Vec::new();
    for found in [nft, firewall::legacy_rules()] {
        match found {
            Ok(found) => rules.extend(found),
            Err(why) => _ = unread.insert(why),
        }
    }
    Firewall { chains, rules }
}

/// Names what runs ahead of our programs, where anything does.
fn look_ahead(
    pins: &Pins,
    netns: &Namespace,
    hooks: &BTreeMap<EndId, EndHooks>,
    facts: &mut Facts,
) {
    for link in netns.links.values() {
        if link.xdp.is_some() && link.kind.is_paired() && facts.bpf_links.is_empty() {
            facts.bpf_links = datapath::links_by_program();
        }
        let Some(hooks) = hooks.get(&netns.end(link.index)) else { continue };
        let mut ours = [hooks.ingress, hooks.egress].into_iter().flatten();
        // Filters run behind programs of TCX; those that drop count it at their qdisc.
        let filters = facts.qdiscs.iter().any(|qdisc| qdisc.dev == link.index && qdisc.is_hook());
        let crowded = ours.any(|hook| filters || hook.of > 1);
        if crowded && let Ok(found) = fastpath::look_at_end(pins, netns.cookie, link) {
            facts.hooks.insert(link.index, found);
            if facts.bpf_links.is_empty() {
                facts.bpf_links = datapath::links_by_program();
            }
        }
    }
}
