//! Looks at a namespace in which near ends lie. Runs inside it.

mod ends;
mod legacy;
mod nftables;
mod policy;
mod sysctl;

use std::collections::BTreeMap;

use super::{EndFacts, Facts};
use crate::{
    datapath::Pins,
    inventory::{Namespace, Snapshot},
    netns::{self, NetnsError},
    types::{EndId, IfIndex, NetnsCookie},
};

/// Looks at the namespaces of these near ends.
#[must_use]
pub fn gather(
    pins: &Pins,
    snapshot: &Snapshot,
    near: &BTreeMap<NetnsCookie, Vec<EndId>>,
) -> BTreeMap<NetnsCookie, Facts> {
    let mut facts = BTreeMap::new();
    for (cookie, ends) in near {
        if let Some(netns) = snapshot.namespaces.get(cookie) {
            // A namespace that is gone has no facts, and its pairs no fast path.
            if let Ok(found) = within(pins, netns, ends) {
                facts.insert(*cookie, found);
            }
        }
    }
    facts
}

fn within(pins: &Pins, netns: &Namespace, ends: &[EndId]) -> Result<Facts, NetnsError> {
    let links: Vec<_> = ends.iter().filter_map(|end| netns.links.get(&end.ifindex)).collect();
    netns::within_known(&netns.path, netns.cookie, || {
        let mut facts = Facts { forwards_ipv6: sysctl::forwards_ipv6(), ..Facts::default() };
        facts.bridge_calls_ip = sysctl::bridge_calls_ip();
        let ends = links.iter().map(|link| (link.index, ends::look(pins, netns.cookie, link)));
        let ends: BTreeMap<IfIndex, Result<EndFacts, String>> = ends.collect();
        for (index, end) in ends {
            match end {
                Ok(end) => _ = facts.ends.insert(index, end),
                Err(why) => facts.unread.push(why),
            }
        }
        note(&mut facts.unread, policy::routes(), |routes| facts.routes = routes);
        note(&mut facts.unread, policy::rules(), |rules| facts.rules = rules);
        note(&mut facts.unread, policy::xfrm(), |policies| facts.xfrm_policies = policies);
        note(&mut facts.unread, nftables::base_chains(), |chains| facts.chains = chains);
        note(&mut facts.unread, legacy::tables(), |tables| facts.legacy = tables);
        facts
    })
}

/// What cannot be read stands in the way, too.
fn note<T>(unread: &mut Vec<String>, found: Result<T, String>, take: impl FnOnce(T)) {
    match found {
        Ok(found) => take(found),
        Err(why) => unread.push(why),
    }
}
