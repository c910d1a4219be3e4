#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use super::*;
use crate::{mark::PairMark, topology::model::parse};

fn checked(text: &str) -> Result<Topology, Vec<String>> {
    let mistakes = |mistakes: Vec<Mistake>| mistakes.iter().map(Mistake::to_string).collect();
    validate(&parse(text).unwrap()).map_err(mistakes)
}

fn good(text: &str) -> Topology {
    checked(text).unwrap()
}

/// The one mistake of a file.
fn mistake(text: &str) -> String {
    let mistakes = checked(text).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    mistakes.into_iter().next().unwrap()
}

/// A file with one pair, whose first end has `keys`.
fn end(keys: &str) -> String {
    format!("pairs: [{{name: p, ends: [{{interface: b}}, {{interface: a, {keys}}}]}}]")
}

/// The mistake of an end with `keys`, without its position and its pair.
fn end_mistake(keys: &str) -> String {
    let mistake = mistake(&end(keys));
    let (position, what) = mistake.split_once(r#": pair "p" end 2: "#).unwrap();
    assert!(position.starts_with("line 1, column "), "{position}");
    what.to_owned()
}

const CONTRACT: &str = r#"
namespaces:
  - name: orange
  - name: green
bridges:
  - name: br0
    addresses: [10.0.0.1/24]
    mtu: 1500
pairs:
  - name: demo
    datapath: observe
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green,  interface: tap2, addresses: [192.168.1.3/24], mtu: 1500 }
  - name: blue
    ends:
      - { interface: veth0, addresses: [10.0.0.10/32], routes: [{ to: 10.0.0.1/32 }] }
      - { namespace: blue, interface: veth1, addresses: [10.0.0.1/32], routes: [{ to: 10.0.0.10/32 }, { to: default, via: 10.0.0.10 }] }
"#;

#[test]
fn the_documented_example_is_right() {
    let topology = good(CONTRACT);
    assert_eq!(topology.namespaces.len(), 2);
    assert_eq!(topology.bridges[0].settings.mtu.unwrap().bytes(), 1500);
    let [host, blue] = &topology.pairs[1].ends;
    assert_eq!(host.place, None);
    assert!(host.settings.up);
    assert_eq!(blue.place.as_ref().unwrap().as_str(), "blue");
    assert_eq!(blue.routes[1].to.to_string(), "0.0.0.0/0");
    assert_eq!(blue.routes[1].via.unwrap().to_string(), "10.0.0.10");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let mistakes = checked(
        "namespaces:\n  - name: a/b\npairs:\n  - name: p\n    ends:\n      - interface: tap1\n        \
         mtu: 67\n        addresses: [10.0.0.1]\n",
    )
    .unwrap_err();
    assert_eq!(
        mistakes,
        [
            r#"line 2, column 11: namespace "a/b": "a/b" is not a namespace name; use 1 to 255 bytes without '/' or control characters"#,
            r#"line 4, column 11: pair "p": has one end; a pair has exactly two ends"#,
            r#"line 7, column 14: pair "p" end 1: MTU 67 is out of range; use 68 to 65535"#,
            r#"line 8, column 21: pair "p" end 1: address 10.0.0.1 has no prefix length; write 10.0.0.1/24"#,
        ]
    );
}

#[test]
fn a_mistake_is_one_line_whatever_the_file_holds() {
    for name in [r#""a\nb""#, r#""a\0""#, "a/b", "sixteen-bytes-xx"] {
        for text in [
            format!("namespaces: [{{name: {name}}}]"),
            format!("bridges: [{{name: {name}, mac: {name}, addresses: [{name}]}}]"),
            format!("pairs: [{{name: {name}, datapath: {name}, ends: [{{interface: {name}}}]}}]"),
        ] {
            for mistake in checked(&text).err().unwrap_or_default() {
                assert!(!mistake.contains(char::is_control), "{mistake:?}");
            }
        }
    }
}

#[test]
fn names_that_the_kernel_or_its_tools_take_for_something_else_are_refused() {
    for (name, why) in [
        ("sixteen-bytes-xx", "is not an interface name"),
        ("a/b", "is not an interface name"),
        (r#""a\nb""#, "is not an interface name"),
        ("lo", "is the loopback device"),
        ("all", "the kernel refuses"),
        ("veth%d", "the kernel replaces the %"),
    ] {
        let text = format!("pairs: [{{name: p, ends: [{{interface: a}}, {{interface: {name}}}]}}]");
        assert!(mistake(&text).contains(why), "{name}");
        assert!(mistake(&format!("bridges: [{{name: {name}}}]")).contains(why), "{name}");
    }
    assert!(
        mistake("pairs: [{name: a;b, ends: [{interface: a}, {interface: b}]}]")
            .contains("is not a pair name")
    );
}

#[test]
fn a_pair_has_two_ends() {
    for (ends, how_many) in [
        ("", "no ends"),
        ("{interface: a}", "one end"),
        ("{interface: a}, {interface: b}, {interface: c}", "3 ends"),
    ] {
        assert_eq!(
            mistake(&format!("pairs: [{{name: p, ends: [{ends}]}}]")),
            format!(r#"line 1, column 16: pair "p": has {how_many}; a pair has exactly two ends"#)
        );
    }
}

#[test]
fn a_name_is_there_once() {
    assert!(mistake("namespaces: [{name: a}, {name: a}]").contains("is declared twice"));
    assert_eq!(
        mistake(
            "pairs: [{name: p, ends: [{interface: a}, {interface: b}]},
                     {name: p, ends: [{interface: c}, {interface: d}]}]"
        ),
        r#"line 2, column 29: pair "p": is declared twice; give one another name"#
    );
    assert_eq!(
        mistake("pairs: [{name: p, ends: [{interface: a}, {interface: a}]}]"),
        r#"line 1, column 54: pair "p" end 2: interface a in the host's namespace is also that of pair "p" end 1; choose another name"#
    );
    assert!(
        mistake(
            "{bridges: [{name: a}], pairs: [{name: p, ends: [{interface: a}, {interface: b}]}]}"
        )
        .contains(r#"is also that of bridge "a""#)
    );
    assert!(mistake("bridges: [{name: a}, {name: a}]").contains(r#"is also that of bridge "a""#));
    good("pairs: [{name: p, ends: [{interface: a}, {interface: a, namespace: n}]}]");
}

#[test]
fn addresses_are_unicast_with_a_prefix_and_there_once() {
    for (addresses, message) in [
        ("192.168.1.2", "address 192.168.1.2 has no prefix length; write 192.168.1.2/24"),
        ("'fd00::2'", "address fd00::2 has no prefix length; write fd00::2/64"),
        (
            "192.168.1/24",
            "\"192.168.1/24\" is not an address; write it as 192.168.1.2/24 or fd00::2/64",
        ),
        (
            "192.168.1.2/33",
            "\"192.168.1.2/33\" is not an address; write it as 192.168.1.2/24 or fd00::2/64",
        ),
        ("0.0.0.0/0", "address 0.0.0.0/0 is the unspecified address; use a unicast one"),
        ("'::/64'", "address ::/64 is the unspecified address; use a unicast one"),
        ("224.0.0.1/4", "address 224.0.0.1/4 is not a unicast address; use one"),
        ("'ff02::1/64'", "address ff02::1/64 is not a unicast address; use one"),
        ("255.255.255.255/32", "address 255.255.255.255/32 is not a unicast address; use one"),
        ("'::1/128'", "address ::1/128 is a loopback address; use another one"),
        ("10.0.0.1/24, 10.0.0.1/16", "address 10.0.0.1 is there twice; leave one out"),
    ] {
        assert_eq!(end_mistake(&format!("addresses: [{addresses}]")), message);
    }
    good(&end("addresses: [10.0.0.1/24, 10.0.0.2/24, 'fd00::1/64', 10.1.0.1/32]"));
}

#[test]
fn mtu_mac_and_metric_have_their_limits() {
    for (keys, message) in [
        ("mtu: 67", "MTU 67 is out of range; use 68 to 65535"),
        ("mtu: 65536", "MTU 65536 is out of range; use 68 to 65535"),
        ("mtu: -1", "MTU -1 is out of range; use 68 to 65535"),
        (
            "mtu: 1279, addresses: ['fd00::1/64']",
            "MTU 1279 is too small for IPv6; use 1280 or more",
        ),
        (
            "mtu: 1279, routes: [{to: 'fd00::/64'}]",
            "MTU 1279 is too small for IPv6; use 1280 or more",
        ),
        (
            "mac: 01:00:00:00:00:01",
            "\"01:00:00:00:00:01\" is not a unicast MAC address; write it as 02:00:00:00:00:01",
        ),
        (
            "routes: [{to: 10.0.0.0/8, metric: -1}]",
            "metric -1 is out of range; use 0 to 4294967295",
        ),
        (
            "routes: [{to: 10.0.0.0/8, metric: 4294967296}]",
            "metric 4294967296 is out of range; use 0 to 4294967295",
        ),
    ] {
        assert_eq!(end_mistake(keys), message);
    }
    good(&end("mtu: 68, mac: 02:00:00:00:00:01, addresses: [10.0.0.1/24]"));
    good(&end("mtu: 1280, addresses: ['fd00::1/64'], routes: [{to: default, metric: 4294967295}]"));
}

#[test]
fn a_mac_is_there_once() {
    let text = "pairs: [{name: p, ends: [{interface: a, mac: 02:00:00:00:00:01},
                                         {interface: b, mac: 02:00:00:00:00:01}]}]";
    assert!(mistake(text).ends_with(
        r#"pair "p" end 2: MAC 02:00:00:00:00:01 is also that of pair "p" end 1; give each its own"#
    ));
}

#[test]
fn a_route_is_of_one_family() {
    for (route, message) in [
        (
            "to: 'fd00::/64', via: 10.0.0.1",
            "route to fd00::/64 is IPv6 and its via 10.0.0.1 is IPv4; use one family for both",
        ),
        (
            "to: default, via: 10.0.0.1, source: 'fd00::1'",
            "route to 0.0.0.0/0 is IPv4 and its source fd00::1 is IPv6; use one family for both",
        ),
    ] {
        assert_eq!(end_mistake(&format!("routes: [{{{route}}}]")), message);
    }
    assert_eq!(
        end_mistake("addresses: ['fd00::1/64'], routes: [{to: default, via: 10.0.0.1}]"),
        "route via 10.0.0.1 needs an IPv4 address on the end, which has only IPv6 addresses; add \
         one or take the route out"
    );
}

#[test]
fn a_default_route_takes_the_family_that_there_is() {
    for (keys, to) in [
        ("routes: [{to: default}]", "0.0.0.0/0"),
        ("routes: [{to: default, via: 'fe80::1'}]", "::/0"),
        ("routes: [{to: default, source: 'fd00::1'}]", "::/0"),
        ("addresses: ['fd00::1/64'], routes: [{to: default}]", "::/0"),
        ("addresses: ['fd00::1/64', 10.0.0.1/24], routes: [{to: default}]", "0.0.0.0/0"),
    ] {
        let topology = good(&end(keys));
        assert_eq!(topology.pairs[0].ends[1].routes[0].to.to_string(), to, "{keys}");
    }
}

#[test]
fn destinations_are_networks_or_hosts() {
    for (to, message) in [
        ("10.0.0.1/24", "route to 10.0.0.1/24 has bits set behind the prefix; write 10.0.0.0/24"),
        ("0.0.0.0", "route to 0.0.0.0/32 leads nowhere; write default"),
        (
            "nowhere",
            "\"nowhere\" is not a destination; write it as 10.0.0.0/24, fd00::/64 or default",
        ),
    ] {
        assert_eq!(end_mistake(&format!("routes: [{{to: {to}}}]")), message);
    }
    let topology = good(&end("routes: [{to: 10.0.0.1}]"));
    assert_eq!(topology.pairs[0].ends[1].routes[0].to.to_string(), "10.0.0.1/32");
}

#[test]
fn next_hops_and_sources_are_single_unicast_addresses() {
    for (route, message) in [
        ("via: 10.0.0.1/24", "via 10.0.0.1/24 has a prefix length; write 10.0.0.1"),
        ("via: 224.0.0.1", "via 224.0.0.1 is not a unicast address; use one"),
        ("source: 0.0.0.0", "source 0.0.0.0 is the unspecified address; use a unicast one"),
        ("via: x", "\"x\" is not an address (via); write it as 10.0.0.1 or fd00::1"),
    ] {
        assert_eq!(end_mistake(&format!("routes: [{{to: default, {route}}}]")), message);
    }
}

#[test]
fn a_destination_and_metric_are_there_once_in_a_namespace() {
    let text = |metric: u32| {
        format!(
            "pairs: [{{name: p, ends: [
              {{interface: a, routes: [{{to: 'fd00::/64'}}]}},
              {{interface: b, routes: [{{to: 'fd00::/64', metric: {metric}}}]}}]}}]"
        )
    };
    assert!(mistake(&text(1024)).ends_with(
        r#"pair "p" end 2: route to fd00::/64 is already that of pair "p" end 1 in the host's namespace; give one of them a metric"#
    ));
    good(&text(1025));
}

#[test]
fn the_kernels_own_route_may_be_named_but_not_changed() {
    good(&end("addresses: [10.0.0.1/24], routes: [{to: 10.0.0.0/24}]"));
    good(&end("addresses: [10.0.0.1/24], routes: [{to: 10.0.0.0/24, source: 10.0.0.1}]"));
    good(&end(
        "addresses: [10.0.0.1/24], routes: [{to: 10.0.0.0/24, source: 10.1.1.1, metric: 1}]",
    ));
    assert_eq!(
        end_mistake("addresses: [10.0.0.1/24], routes: [{to: 10.0.0.0/24, source: 10.1.1.1}]"),
        "route to 10.0.0.0/24 is there with source 10.0.0.1 once 10.0.0.1/24 is set; give this one \
         a metric"
    );
}

#[test]
fn an_end_that_is_down_has_no_routes() {
    assert_eq!(
        end_mistake("up: false, routes: [{to: default}]"),
        "routes need the end up; take them out or `up: false`"
    );
    good(&end("up: false, addresses: [10.0.0.1/24]"));
}

#[test]
fn accelerated_datapaths_need_an_end_where_frames_are_forwarded() {
    let direct = "pairs: [{name: p, datapath: tc, ends: [{interface: a, namespace: x},
                                                         {interface: b, namespace: y}]}]";
    assert_eq!(
        mistake(direct),
        r#"line 1, column 29: pair "p": datapath: tc needs an end where frames are forwarded; put one on a bridge or into the host's namespace, or use observe"#
    );
    assert!(mistake(&direct.replace("tc", "xdp")).contains("datapath: xdp needs an end where"));
    for text in [direct.replace(", namespace: x", ""), direct.replace("x}", "x, bridge: br0}")] {
        good(&text);
        good(&text.replace("tc", "xdp"));
    }
    assert!(mistake(&direct.replace("tc", "fast")).contains("use observe, tc or xdp"));
    good(&direct.replace("tc", "observe, force: true"));
}

#[test]
fn an_end_is_no_bridge() {
    assert_eq!(end_mistake("bridge: b"), r#"b is pair "p" end 1 and not a bridge; name a bridge"#);
    good(&end("bridge: br0"));
    good(&end("bridge: b, namespace: x"));
}

#[test]
fn the_longest_mark_fits_an_alias() {
    const IFALIASZ: usize = 256;
    let mark = PairMark {
        pair: "x".repeat(63).parse().unwrap(),
        datapath: Datapath::Observe,
        force: true,
    };
    assert!(mark.alias().len() < IFALIASZ);
}
