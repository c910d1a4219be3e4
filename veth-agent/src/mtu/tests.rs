//! What the graph says of small pictures. 1 is the host.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may fail so")]

use super::{Graph, Kind, Mismatch, by_end, exits, mismatches, overloaded, takes};
use crate::{
    inventory::{
        Link, LinkKind, Namespace, Snapshot, Tunnel,
        crafted::{end, link, netns, port, snapshot},
    },
    types::{EndId, IfIndex, NetnsCookie},
};

use LinkKind::{Bridge, Loopback, Other, Veth};

/// Two namespaces and their cable; routes of the first.
fn cable(one: u32, other: u32, routes: &[&str]) -> Snapshot {
    let left = netns(2, vec![link(2, Veth, one, &["10.0.0.2/24"])], routes);
    let right = netns(3, vec![link(2, Veth, other, &["10.0.0.3/24"])], &["10.0.0.0/24 dev 2"]);
    snapshot([netns(1, Vec::new(), &[]), left, right], &[(end(2, 2), end(3, 2))])
}

/// Pods 2 and 3 behind ports 3 and 4 of bridge 2, their gateway; uplink 9 of 1,500 bytes.
struct Bridged {
    bridge: u32,
    ports: [u32; 2],
    pods: [u32; 2],
    /// Of both pods.
    routes: Vec<&'static str>,
    /// Of the host.
    way_out: Vec<&'static str>,
    /// More links of the host.
    more: Vec<Link>,
}

impl Default for Bridged {
    fn default() -> Self {
        Self {
            bridge: 1500,
            ports: [1500; 2],
            pods: [1500; 2],
            routes: vec!["10.0.0.0/24 dev 2", "0.0.0.0/0 via 10.0.0.1 dev 2"],
            way_out: vec!["0.0.0.0/0 via 192.0.2.1 dev 9"],
            more: Vec::new(),
        }
    }
}

impl Bridged {
    fn snapshot(self) -> Snapshot {
        let Self { bridge, ports, pods, routes, way_out, more } = self;
        let mut host = vec![
            link(2, Bridge, bridge, &["10.0.0.1/24"]),
            port(3, Veth, ports[0], 2),
            port(4, Veth, ports[1], 2),
            link(9, Other(String::new()), 1500, &["192.0.2.9/24"]),
        ];
        host.extend(more);
        let pod = |cookie, mtu| netns(cookie, vec![link(2, Veth, mtu, &[])], &routes);
        let all = [netns(1, host, &way_out), pod(2, pods[0]), pod(3, pods[1])];
        snapshot(all, &[(end(1, 3), end(2, 2)), (end(1, 4), end(3, 2))])
    }

    /// Kind, who sends how much, and what takes how little.
    fn says(self) -> Vec<(Kind, EndId, u32, EndId, u32)> {
        let found = mismatches(&self.snapshot()).into_iter();
        found.map(|it| (it.kind, it.sender, it.sends, it.limit, it.takes)).collect()
    }
}

#[test]
fn of_two_ends_the_larger_one_sends_too_much() {
    assert_eq!(mismatches(&cable(1500, 1500, &[])), []);
    let found = Mismatch {
        limit: end(3, 2),
        takes: 1400,
        kind: Kind::Peer,
        end: end(2, 2),
        sender: end(2, 2),
        sends: 1500,
    };
    let found = [found];
    assert_eq!(mismatches(&cable(1500, 1400, &[])), found);
    assert_eq!(by_end(&found), [(end(2, 2), Kind::Peer)].into());
    let back = mismatches(&cable(1399, 1400, &[]));
    assert_eq!(back.iter().map(|it| (it.end, it.sends)).collect::<Vec<_>>(), [(end(3, 2), 1400)]);
}

/// Only what an end sends counts; the routes that no large packet follows do not.
#[test]
fn smaller_routes_explain_a_larger_link() {
    let sends = |routes: &[&str]| Graph::new(&cable(1500, 1400, routes)).sends(end(2, 2));
    assert_eq!(sends(&["10.0.0.0/24 dev 2 mtu 1400", "0.0.0.0/0 via 10.0.0.3 dev 2"]), Some(1500));
    let all = ["10.0.0.0/24 dev 2 mtu 1300", "0.0.0.0/0 via 10.0.0.3 dev 2 mtu 1400"];
    assert_eq!(sends(&all), Some(1400));
    assert_eq!(mismatches(&cable(1500, 1400, &all)), []);
    let beside = [
        "169.254.1.1/32 dev 2",
        "fe80::/64 dev 2",
        "ff00::/8 dev 2",
        "0.0.0.0/0 via 169.254.1.1 dev 2 mtu 1400",
    ];
    assert_eq!(sends(&beside), Some(1400), "a gateway, link-local addresses and multicast");
    assert_eq!(sends(&["10.0.0.3/32 dev 2", beside[3]]), Some(1500), "a neighbour is no gateway");
    assert_eq!(sends(&["10.0.0.0/24 dev 2 mtu 9000"]), Some(1500), "no more than the link takes");
    assert_eq!(sends(&[]), Some(1500));
    assert_eq!(Graph::new(&cable(1500, 1400, &[])).sends(end(9, 9)), None);
}

#[test]
fn a_route_promises_no_more_than_its_link_takes() {
    let found = mismatches(&cable(1500, 1500, &["10.7.0.0/16 via 10.0.0.3 dev 2 mtu 1501"]));
    let [Mismatch { kind: Kind::Route, limit, takes: 1500, sends: 1501, .. }] = found.as_slice()
    else {
        panic!("{found:?}")
    };
    assert_eq!(*limit, end(2, 2));
    assert_eq!(mismatches(&cable(1500, 1500, &["10.7.0.0/16 via 10.0.0.3 dev 2 mtu 1500"])), []);
}

#[test]
fn a_bridge_passes_on_what_its_narrowest_other_hop_takes() {
    assert_eq!(Bridged::default().says(), []);
    let (red, blue) = (end(2, 2), end(3, 2));
    let (bridge, red_port, blue_port) = (end(1, 2), end(1, 3), end(1, 4));
    // A pair as narrow as its port, and a bridge that follows it: the other pod sends too much.
    let pair =
        || Bridged { bridge: 1400, ports: [1500, 1400], pods: [1500, 1400], ..Bridged::default() };
    assert_eq!(pair().says(), [(Kind::Bridge, red, 1500, blue_port, 1400)]);
    // Now both are, and it is the bridge alone that is larger.
    let larger = Bridged { ports: [1400; 2], pods: [1400; 2], ..Bridged::default() };
    let from_bridge = [red_port, blue_port].map(|it| (Kind::Bridge, bridge, 1500, it, 1400));
    assert_eq!(larger.says(), from_bridge);
    let smaller = Bridged { bridge: 1400, ..Bridged::default() };
    let to_bridge = [red, blue].map(|it| (Kind::Bridge, it, 1500, bridge, 1400));
    assert_eq!(smaller.says(), to_bridge);
    // Its own port does not limit a pod; that is between the ends.
    let port = Bridged { ports: [1500, 1400], bridge: 1400, ..Bridged::default() };
    let both = [(Kind::Peer, blue), (Kind::Bridge, red)];
    assert_eq!(port.says(), both.map(|(kind, it)| (kind, it, 1500, blue_port, 1400)));
}

/// What is sent into a pair whose end is a port is what comes into the bridge by others.
#[test]
fn a_port_sends_what_comes_into_its_bridge() {
    let narrow = Bridged { pods: [1500, 1400], ..Bridged::default() };
    let blue = end(3, 2);
    assert_eq!(narrow.says(), [(Kind::Peer, end(1, 4), 1500, blue, 1400)]);
    // Nobody else sends more.
    let all = Bridged { bridge: 1400, pods: [1400; 2], ..Bridged::default() };
    assert_eq!(all.says(), []);
    // Beyond a port that is no end is what nobody sees: it limits all.
    let more = vec![port(8, Other(String::new()), 1450, 2)];
    let physical = Bridged { more, ..Bridged::default() };
    // The bridge itself sends 1,500 bytes to ports that take as much.
    let senders = [end(2, 2), blue].map(|it| (Kind::Bridge, it, 1500, end(1, 8), 1450));
    assert_eq!(physical.says(), senders);
}

#[test]
fn a_host_sends_on_what_its_narrowest_way_out_takes() {
    let way = |route| Bridged { way_out: vec![route], ..Bridged::default() };
    let limited = || way("0.0.0.0/0 via 192.0.2.1 dev 9 mtu 1400");
    let uplink = [end(2, 2), end(3, 2)].map(|it| (Kind::Uplink, it, 1500, end(1, 9), 1400));
    assert_eq!(limited().says(), uplink);
    // Who has another gateway, none, or a route that knows, does not come that way.
    for route in [
        "0.0.0.0/0 via 10.0.0.7 dev 2",
        "10.0.0.0/8 dev 2",
        "0.0.0.0/0 via 10.0.0.1 dev 2 mtu 1400",
    ] {
        let routes = vec!["10.0.0.0/24 dev 2", route];
        assert_eq!(Bridged { routes, ..limited() }.says(), [], "{route}");
    }
    assert_eq!(way("192.0.2.0/24 dev 9 mtu 1400").says(), [], "no way out");
    // Not that of the other family, nor one that is for want of another; and loopback is none.
    let two = |other: &'static str| {
        let way_out = vec!["0.0.0.0/0 dev 9 metric 5 mtu 1450", other];
        let more = vec![link(7, Loopback, 65536, &[]), link(8, Other(String::new()), 1400, &[])];
        Bridged { way_out, more, ..Bridged::default() }.says()
    };
    let wide = uplink.map(|(kind, it, sends, limit, _)| (kind, it, sends, limit, 1450));
    for other in ["::/0 dev 9 mtu 1400", "0.0.0.0/0 dev 8 metric 6", "0.0.0.0/0 dev 7 metric 1"] {
        assert_eq!(two(other), if other.contains("dev 7") { vec![] } else { wide.to_vec() });
    }
    let narrow = uplink.map(|(kind, it, sends, ..)| (kind, it, sends, end(1, 8), 1400));
    assert_eq!(two("0.0.0.0/0 dev 8 metric 4"), narrow);
    // Each family has its own.
    let routes = vec!["10.0.0.0/24 dev 2", "::/0 via 10.0.0.1 dev 2"];
    assert_eq!(Bridged { routes, ..limited() }.says(), []);
}

/// A tunnel of 50 bytes, with its MTU.
fn tunnel(mtu: u32, lower: Option<u32>, remote: Option<&str>) -> Link {
    let remote = remote.map(|remote| remote.parse().unwrap());
    Link {
        lower: lower.map(IfIndex),
        tunnel: Some(Tunnel { overhead: 50, remote }),
        ..link(7, Other("vxlan".into()), mtu, &[])
    }
}

/// A host with a link of 1,500 bytes, one of 1,400 and a tunnel.
fn host(tunnel: Link, routes: &[&str]) -> Namespace {
    let plain = |index, mtu| link(index, Other(String::new()), mtu, &[]);
    netns(1, vec![plain(2, 1500), plain(3, 1400), tunnel], routes).1
}

#[test]
fn a_tunnel_takes_what_the_link_below_leaves() {
    let routes = ["0.0.0.0/0 dev 2", "192.0.2.0/24 dev 3", "192.0.2.0/25 dev 7"];
    let narrow = |tunnel: Link, routes: &[&str]| takes(&host(tunnel.clone(), routes), &tunnel);
    let cases = [
        ("the named one", tunnel(1450, Some(3), Some("10.0.0.1")), 1350),
        ("by the longest prefix, not its own", tunnel(1450, None, Some("192.0.2.1")), 1350),
        ("by default", tunnel(1450, None, Some("203.0.113.1")), 1450),
        ("to many places", tunnel(1500, None, None), 1450),
        ("nor more than its own MTU", tunnel(1300, None, None), 1300),
    ];
    for (why, tunnel, expected) in cases {
        assert_eq!(narrow(tunnel, &routes), expected, "{why}");
    }
    assert_eq!(narrow(tunnel(1500, None, None), &[]), 1500, "no route to where it sends");
    let two = ["0.0.0.0/0 dev 3 metric 9", "0.0.0.0/0 dev 2 metric 1"];
    assert_eq!(narrow(tunnel(1500, None, None), &two), 1450, "the preferred of two");
}

#[test]
fn a_tunnel_that_is_too_large_is_told_once_it_is_up() {
    let told = |mtu, admin_up| {
        let tunnel = Link { admin_up, ..tunnel(mtu, Some(2), None) };
        let host = (NetnsCookie(1), host(tunnel, &[]));
        let found = overloaded(&snapshot([host], &[]));
        found.iter().map(|it| (it.mtu, it.overhead, it.below.0, it.takes)).collect::<Vec<_>>()
    };
    assert_eq!(told(1450, true), []);
    assert_eq!(told(1451, true), [(1451, 50, 2, 1500)]);
    assert_eq!(told(1451, false), []);
}

/// Packets for other networks leave by a tunnel; those for its other end, and link-local ones, do not.
#[test]
fn a_tunnel_that_routes_lead_over_is_a_way_out() {
    let ways = |routes: &[&str]| {
        let exits = exits(&host(tunnel(1450, Some(2), None), routes));
        exits.iter().map(|exit| (exit.ifindex.0, exit.takes)).collect::<Vec<_>>()
    };
    assert_eq!(ways(&["0.0.0.0/0 dev 2", "10.8.0.0/16 dev 7"]), [(7, 1450), (2, 1500)]);
    assert_eq!(ways(&["10.8.0.1/32 dev 7", "fe80::/64 dev 7", "10.8.0.0/16 dev 3"]), []);
    assert_eq!(ways(&["10.8.0.0/16 dev 7 mtu 1200"]), [(7, 1200)]);
    assert_eq!(ways(&["0.0.0.0/0 dev 9"]), [], "its link is not there");
}

/// A pod whose host routes, and has its default route over that very cable.
#[test]
fn where_it_comes_from_is_no_way_out() {
    let says = |routes: &[&str]| {
        let links = vec![link(3, Veth, 1500, &[]), link(9, Other(String::new()), 1400, &[])];
        let pod = netns(2, vec![link(2, Veth, 1500, &[])], &["0.0.0.0/0 via 10.0.0.1 dev 2"]);
        let picture = snapshot([netns(1, links, routes), pod], &[(end(1, 3), end(2, 2))]);
        mismatches(&picture).iter().map(|it| (it.kind, it.end, it.takes)).collect::<Vec<_>>()
    };
    assert_eq!(says(&["0.0.0.0/0 dev 3 mtu 1300"]), []);
    assert_eq!(says(&["0.0.0.0/0 dev 3 mtu 1300", "0.0.0.0/0 dev 9 metric 7"]), []);
    let out = [(Kind::Uplink, end(2, 2), 1400)];
    assert_eq!(says(&["0.0.0.0/0 dev 3 mtu 1300 metric 7", "0.0.0.0/0 dev 9 metric 7"]), out);
}
