//! Pictures for tests of what is pure: links, routes and namespaces in one line each.
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use super::{Address, Link, LinkKind, Namespace, OperState, Route, Snapshot, Switches};
use crate::types::{EndId, IfIndex, NetnsCookie};

/// A link that is up, called `linkINDEX`.
pub fn link(index: u32, kind: LinkKind, mtu: u32, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|net| Address { net: net.parse().unwrap(), ours: false });
    Link {
        index: IfIndex(index),
        name: format!("link{index}"),
        kind,
        mac: None,
        mtu,
        admin_up: true,
        carrier: true,
        state: OperState::Up,
        alias: None,
        newborn: false,
        master: None,
        port: None,
        vlan_filtering: false,
        stp: false,
        qdisc: None,
        arp: true,
        lower: None,
        tunnel: None,
        switches: Switches::default(),
        xdp: None,
        peer: None,
        addresses: addresses.collect(),
        duplicates: Vec::new(),
    }
}

/// A link that is a port of another.
pub fn port(index: u32, kind: LinkKind, mtu: u32, master: u32) -> Link {
    Link { master: Some(IfIndex(master)), ..link(index, kind, mtu, &[]) }
}

/// A route as `ip route` writes it: `TO [via GATEWAY] dev INDEX [mtu BYTES]`.
pub fn route(line: &str) -> Route {
    let words: Vec<_> = line.split(' ').collect();
    let word = |key| words.iter().position(|word| *word == key).map(|at| words[at + 1]);
    Route {
        to: words[0].parse().unwrap(),
        via: word("via").map(|via| via.parse().unwrap()),
        source: None,
        metric: word("metric").map_or(0, |metric| metric.parse().unwrap()),
        mtu: word("mtu").map(|mtu| mtu.parse().unwrap()),
        dev: IfIndex(word("dev").unwrap().parse().unwrap()),
        rest: Some(String::new()),
        ours: false,
    }
}

/// A namespace without a name.
pub fn netns(cookie: u64, links: Vec<Link>, routes: &[&str]) -> (NetnsCookie, Namespace) {
    let (cookie, inode) = (NetnsCookie(cookie), cookie);
    let links = links.into_iter().map(|link| (link.index, link)).collect();
    let (names, path) = (Vec::new(), "/proc/self/ns/net".into());
    let routes = routes.iter().map(|line| route(line)).collect();
    (cookie, Namespace { cookie, inode, names, path, nsid: None, links, routes })
}

/// The link `ifindex` of the namespace `netns`.
pub const fn end(netns: u64, ifindex: u32) -> EndId {
    EndId { netns: NetnsCookie(netns), ifindex: IfIndex(ifindex) }
}

/// A picture whose host is the namespace 1.
pub fn snapshot(
    namespaces: impl IntoIterator<Item = (NetnsCookie, Namespace)>,
    pairs: &[(EndId, EndId)],
) -> Snapshot {
    Snapshot {
        host: NetnsCookie(1),
        namespaces: namespaces.into_iter().collect(),
        peers: pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect(),
        unseen: Vec::new(),
    }
}
