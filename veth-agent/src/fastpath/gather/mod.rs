//! Looks at a namespace in which near ends lie. Runs inside it.

mod ends;
mod policy;
mod sysctl;

pub use ends::look as look_at_end;

use std::collections::BTreeMap;

use super::{EndFacts, Facts, NearEnd, XdpFacts};
use crate::{
    datapath::{self, Pins, Unfit},
    firewall,
    inventory::{Link, Namespace, Snapshot},
    netns::{self, NetnsError},
    preflight::Feature,
    types::{Datapath, EndId, IfIndex, NetnsCookie},
};

/// Looks at the namespaces of these near ends.
#[must_use]
pub fn gather(
    pins: &Pins,
    snapshot: &Snapshot,
    near: &BTreeMap<NetnsCookie, Vec<NearEnd>>,
) -> BTreeMap<NetnsCookie, Facts> {
    let mut facts = BTreeMap::new();
    for (cookie, ends) in near {
        if let Some(netns) = snapshot.namespaces.get(cookie) {
            // A namespace that is gone has no facts, and its pairs no fast path.
            if let Ok(mut found) = within(pins, netns, ends) {
                for near in ends.iter().filter(|near| near.datapath == Datapath::Xdp) {
                    if let Some(facts) = found.ends.get_mut(&near.end.ifindex) {
                        facts.xdp.unfit = Some(unfit(snapshot, near.far));
                    }
                }
                facts.insert(*cookie, found);
            }
        }
    }
    facts
}

/// Looks at the offloads of a far end, in its own namespace.
fn unfit(snapshot: &Snapshot, far: EndId) -> Result<Unfit, String> {
    let netns = snapshot.namespaces.get(&far.netns).ok_or("its namespace is gone")?;
    let looked = netns::within_known(&netns.path, netns.cookie, || Unfit::look(far.ifindex));
    looked.map_err(|error| error.to_string())?.map_err(|error| format!("offloads: {error}"))
}

fn within(pins: &Pins, netns: &Namespace, ends: &[NearEnd]) -> Result<Facts, NetnsError> {
    let links: Vec<_> = ends
        .iter()
        .filter_map(|near| Some((near.datapath, netns.links.get(&near.end.ifindex)?)))
        .collect();
    let our_xdp = datapath::xdp_program_id(pins, netns.cookie);
    netns::within_known(&netns.path, netns.cookie, || {
        let mut facts = Facts { forwards_ipv6: sysctl::forwards_ipv6(), ..Facts::default() };
        facts.bridge_calls_ip = firewall::bridge_calls_ip();
        let ends = links.iter().map(|(datapath, link)| {
            let mut found = ends::look(pins, netns.cookie, link);
            if let (Ok(found), Datapath::Xdp) = (&mut found, datapath) {
                found.xdp = xdp(link, our_xdp);
            }
            (link.index, found)
        });
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
        note(&mut facts.unread, firewall::base_chains(), |chains| facts.chains = chains);
        note(&mut facts.unread, firewall::tables(), |tables| facts.legacy = tables);
        facts
    })
}

/// Whose program the near end has.
fn xdp(link: &Link, ours: Option<u32>) -> XdpFacts {
    // As it is now: not every change comes as an event.
    let attached = ends::xdp_program(link).unwrap_or(link.xdp);
    XdpFacts {
        attached: attached.is_some() && attached == ours,
        foreign: attached.filter(|id| Some(*id) != ours),
        largest: (!Feature::XdpFragRedirect.available()).then_some(IN_ONE_PIECE),
        unfit: None,
    }
}

/// What lies in one piece for XDP where pages have 4 KiB (`veth_convert_skb_to_xdp_buff`,
/// `drivers/net/veth.c`), without the Ethernet header. More on machines with larger pages.
const IN_ONE_PIECE: u32 = 3506;

/// What cannot be read stands in the way, too.
fn note<T>(unread: &mut Vec<String>, found: Result<T, String>, take: impl FnOnce(T)) {
    match found {
        Ok(found) => take(found),
        Err(why) => unread.push(why),
    }
}
