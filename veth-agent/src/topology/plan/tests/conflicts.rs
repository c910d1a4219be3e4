//! What keeps a plan from being made.

use super::{build::DEMO, kernel::Kernel};
use crate::inventory::LinkKind;

const PAIR: &str = "pairs: [{name: p, ends: [{interface: a}, {interface: b}]}]";

fn invalid(message: &str) -> String {
    format!("Invalid({message:?})")
}

fn conflict(message: &str) -> String {
    format!("Conflict({message:?})")
}

fn errors(kernel: &Kernel, yaml: &str) -> Vec<String> {
    kernel.plan(yaml).unwrap_err()
}

#[test]
fn references_to_nothing_are_invalid_and_come_at_once() {
    let yaml = "
bridges: [{name: br0, namespace: nowhere}]
pairs: [{name: p, ends: [{namespace: blue, interface: a}, {interface: b, bridge: br7}]}]
";
    assert_eq!(
        errors(&Kernel::new(), yaml),
        [
            invalid(
                r#"bridge "br0": namespace "nowhere" is neither declared nor there; declare it under `namespaces`, or leave the key out for the host's"#
            ),
            invalid(
                r#"pair "p" end 1 (a in "blue"): namespace "blue" is neither declared nor there; declare it under `namespaces`, or leave the key out for the host's"#
            ),
            invalid(
                r#"pair "p" end 2 (b on the host): bridge br7 is neither declared nor there; declare it under `bridges`"#
            ),
        ]
    );
}

#[test]
fn a_bridge_is_looked_for_in_the_namespace_of_the_end() {
    let yaml = "
namespaces: [{name: blue}]
bridges: [{name: br0}]
pairs: [{name: p, ends: [{namespace: blue, interface: a, bridge: br0}, {interface: b}]}]
";
    assert!(errors(&Kernel::new(), yaml)[0].contains("bridge br0 is neither declared nor there"));
}

#[test]
fn a_name_that_is_no_veth_end_is_taken() {
    let mut kernel = Kernel::new();
    kernel.netns("green");
    kernel.link("green/tap2", LinkKind::Other("dummy".to_owned()));
    assert_eq!(
        errors(&kernel, DEMO),
        [conflict(
            r#"namespace "green": interface tap2 already exists and is not a veth end; rename it or choose another name"#
        )]
    );
    let mut kernel = Kernel::new();
    kernel.link("host/a", LinkKind::Netkit);
    assert!(errors(&kernel, PAIR)[0].contains("is not a veth end"));
}

#[test]
fn an_end_of_another_pair_is_taken() {
    let mut kernel = Kernel::new();
    kernel.netns("x");
    kernel.veth("host/a", "x/eth0");
    kernel.veth("host/b", "host/c");
    assert_eq!(
        errors(&kernel, PAIR),
        [
            conflict(
                r#"interface a already exists and its other end is eth0 in "x"; rename it or choose another name"#
            ),
            conflict(
                "interface b already exists and its other end is c on the host; rename it or choose another name"
            ),
        ]
    );
    kernel.seen.peers.clear();
    assert!(errors(&kernel, PAIR)[0].contains("its other end is not where the file has it"));
}

#[test]
fn an_alias_of_somebody_else_is_not_overwritten() {
    let mut kernel = Kernel::new();
    kernel.veth("host/a", "host/b");
    for (alias, message) in [
        (
            "uplink",
            "interface a has the alias \"uplink\", which veth-agent would overwrite; clear it with `ip link set a alias \"\"`, or choose another name",
        ),
        (
            "veth-agent:q;datapath=observe",
            "interface a already exists as an end of pair \"q\"; delete that pair, or choose another name",
        ),
        (
            "veth-agent:p;datapath=warp",
            "interface a has the alias \"veth-agent:p;datapath=warp\", which this version of veth-agent does not know; use the version that set it, or clear it",
        ),
    ] {
        kernel.at("host/a").alias = Some(alias.to_owned());
        assert_eq!(errors(&kernel, PAIR), [conflict(message)]);
    }
}

#[test]
fn the_name_of_a_bridge_may_be_taken() {
    let message = conflict(
        "interface eth0 already exists and is not a bridge; rename it or choose another name",
    );
    assert_eq!(errors(&Kernel::new(), "bridges: [{name: eth0}]"), std::slice::from_ref(&message));
    let port = "pairs: [{name: p, ends: [{interface: a, bridge: eth0}, {interface: b}]}]";
    assert_eq!(errors(&Kernel::new(), port), [message]);
}

#[test]
fn a_namespace_that_nobody_could_look_into_is_in_the_way_once() {
    let mut kernel = Kernel::new();
    kernel.unseen("orange");
    assert_eq!(
        errors(&kernel, DEMO),
        [conflict(
            "/run/netns/orange is there and could not be looked into (Permission denied); run as root, or remove that file if nothing uses it"
        )]
    );
}

#[test]
fn a_route_of_somebody_else_keeps_its_destination() {
    let yaml = |route: &str| {
        format!(
            "pairs: [{{name: p, ends: [{{interface: a, routes: [{{{route}}}]}}, {{interface: b}}]}}]"
        )
    };
    let mut kernel = Kernel::new();
    kernel.route("host/eth0", "0.0.0.0/0", Some("192.0.2.1"), false);
    assert_eq!(
        errors(&kernel, &yaml("to: default")),
        [conflict(
            "interface a: a route to 0.0.0.0/0 via 192.0.2.1 through eth0 is there already; give the new one another metric, or remove that one"
        )]
    );
    kernel.apply(&yaml("to: default, metric: 5"));
}

#[test]
fn an_ipv6_address_is_there_once_whatever_its_prefix() {
    let mut kernel = Kernel::new();
    kernel.veth("host/a", "host/b");
    kernel.address("host/a", "fd00::1/64", false);
    let yaml = |prefix: u8| {
        format!(
            "pairs: [{{name: p, ends: [{{interface: a, addresses: ['fd00::1/{prefix}']}}, {{interface: b}}]}}]"
        )
    };
    assert_eq!(
        errors(&kernel, &yaml(128)),
        [conflict(
            "interface a: address fd00::1/64 is there and was not set by veth-agent; remove it, or write that prefix length"
        )]
    );
    kernel.apply(&yaml(64));
}
