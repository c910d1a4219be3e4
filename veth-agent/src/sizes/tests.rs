#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeSet;

use veth_common::{fastpath::address_of, mtu::AddressKey};

use super::{addresses, limits};
use crate::inventory::{
    LinkKind, Snapshot,
    crafted::{self, end, link, netns, port},
};

/// Two pods on a bridge, a third that is routed, and an end whose peer cannot be seen.
fn snapshot() -> Snapshot {
    use LinkKind::{Bridge, Loopback, Other, Veth};
    let host = vec![
        link(1, Loopback, 65536, &["127.0.0.1/8", "::1/128", "10.1.1.1/32"]),
        link(2, Bridge, 1350, &["10.0.0.1/24"]),
        port(3, Veth, 1300, 2),
        port(4, Veth, 1400, 2),
        port(5, Other("vxlan".into()), 1450, 2),
        link(6, Veth, 1500, &[]),
        link(7, Veth, 1500, &[]),
        link(8, Other("bond".into()), 1200, &[]),
        port(9, Veth, 1500, 8),
    ];
    let pod = |cookie, mtu, address| netns(cookie, vec![link(2, Veth, mtu, &[address])], &[]);
    let namespaces = [
        netns(1, host, &[]),
        pod(2, 1310, "10.0.0.2/24"),
        pod(3, 9000, "fd00::3/64"),
        pod(4, 1420, "10.0.4.2/24"),
        netns(5, vec![link(2, Other("dummy".into()), 1500, &["10.9.9.9/24"])], &[]),
    ];
    let pairs = [(end(1, 3), end(2, 2)), (end(1, 4), end(3, 2)), (end(1, 6), end(4, 2))];
    crafted::snapshot(namespaces, &pairs)
}

#[test]
fn an_end_sends_what_its_peer_takes() {
    let limits = limits(&snapshot());
    let tx = |netns, ifindex| limits.get(&end(netns, ifindex)).map(|limits| limits.tx);
    assert_eq!([tx(1, 3), tx(2, 2), tx(1, 4), tx(3, 2)], [1310, 1300, 9000, 1400].map(Some));
    assert_eq!([tx(1, 6), tx(4, 2)], [1420, 1500].map(Some));
    assert_eq!([tx(1, 7), tx(1, 99), tx(99, 1)], [Some(0), None, None], "its peer is not known");
}

#[test]
fn a_port_receives_what_the_narrowest_behind_it_takes() {
    let limits = limits(&snapshot());
    let rx = |netns, ifindex| limits.get(&end(netns, ifindex)).map(|limits| limits.rx);
    // The bridge itself; and another port, whose own end does not count.
    assert_eq!([rx(1, 3), rx(1, 4)], [1350, 1300].map(Some));
    // Pods, routed ends, and what is no port of a bridge.
    assert_eq!([rx(2, 2), rx(3, 2), rx(1, 6), rx(1, 9)], [Some(0); 4]);
}

#[test]
fn addresses_are_those_of_namespaces_with_ends() {
    let key = |netns_cookie, address: &str| AddressKey {
        netns_cookie,
        address: address_of(address.parse().unwrap()),
    };
    let expected = [
        key(1, "10.1.1.1"),
        key(1, "10.0.0.1"),
        key(2, "10.0.0.2"),
        key(3, "fd00::3"),
        key(4, "10.0.4.2"),
    ];
    assert_eq!(addresses(&snapshot()), BTreeSet::from(expected));
}
