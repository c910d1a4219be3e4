//! What `delete` removes, and what it leaves.

use super::{build::DEMO, kernel::Kernel};
use crate::inventory::LinkKind;

const BRIDGED: &str = "
namespaces: [{name: x}]
bridges: [{name: br0, namespace: x, addresses: [10.0.0.1/24]}]
pairs: [{name: p, ends: [{namespace: x, interface: a, bridge: br0}, {interface: b}]}]
";

#[test]
fn everything_goes_and_a_second_run_succeeds() {
    let mut kernel = Kernel::new();
    let before = kernel.seen.clone();
    kernel.apply(BRIDGED);
    assert_eq!(
        kernel.delete(BRIDGED),
        [
            r#"delete pair a in "x" <-> b on the host"#,
            r#"delete bridge br0 in "x""#,
            r#"delete namespace "x""#,
        ]
    );
    assert_eq!(kernel.seen, before);
    assert_eq!(kernel.plan_delete(BRIDGED), crate::topology::plan::Plan::default());
}

#[test]
fn what_was_there_before_stays_without_our_addresses() {
    let mut kernel = Kernel::new();
    kernel.netns("x");
    kernel.link("x/br0", LinkKind::Bridge);
    kernel.address("x/br0", "10.9.0.1/24", false);
    kernel.apply(BRIDGED);
    let plan = kernel.plan_delete(BRIDGED);
    kernel.run(&plan);
    assert_eq!(
        plan.notes,
        [
            r#"namespace "x": interface br0 was there before veth-agent; left alone"#,
            r#"namespace "x" was there before veth-agent; left alone"#,
        ]
    );
    assert_eq!(plan.left, [""; 0]);
    let addresses: Vec<_> =
        kernel.at("x/br0").addresses.iter().map(|a| a.net.to_string()).collect();
    assert_eq!(addresses, ["10.9.0.1/24"]);
    assert_eq!(kernel.plan_delete(BRIDGED).actions, []);
}

#[test]
fn ends_without_our_mark_for_this_pair_stay() {
    let mut kernel = Kernel::new();
    kernel.veth("host/a", "host/b");
    let yaml = "pairs: [{name: p, ends: [{interface: a}, {interface: b}]}]";
    for alias in [None, Some("veth-agent:q;datapath=observe")] {
        kernel.at("host/a").alias = alias.map(str::to_owned);
        let plan = kernel.plan_delete(yaml);
        assert_eq!(plan.actions, []);
        assert_eq!(
            plan.notes,
            [r#"pair "p": no mark of this pair on a on the host and b on the host; left alone"#]
        );
    }
}

#[test]
fn one_mark_is_enough_and_takes_the_peer_wherever_it_is() {
    let yaml = "pairs: [{name: p, ends: [{interface: a}, {interface: b}]}]";
    let mut kernel = Kernel::new();
    kernel.veth("host/a", "host/b");
    kernel.at("host/a").alias = Some("veth-agent:p;datapath=observe".to_owned());
    assert_eq!(kernel.clone().delete(yaml), ["delete pair a on the host <-> b on the host"]);
    kernel.at("host/b").name = "moved".to_owned();
    assert_eq!(kernel.delete(yaml), ["delete pair a on the host"]);
    assert!(kernel.seen.peers.is_empty());
}

#[test]
fn a_namespace_that_holds_something_else_is_left() {
    let mut kernel = Kernel::new();
    kernel.apply(DEMO);
    kernel.link("orange/eth1", LinkKind::Other("macvlan".to_owned()));
    kernel.link("green/tunl0", LinkKind::Other("ipip".to_owned()));
    let plan = kernel.plan_delete(DEMO);
    kernel.run(&plan);
    assert_eq!(
        plan.left,
        [
            r#"namespace "orange": interface eth1 is not of this file's making and would go with it; move or delete that first, then delete again"#
        ]
    );
    assert!(kernel.seen.netns_named("orange").is_some());
    assert!(kernel.seen.netns_named("green").is_none());
}

#[test]
fn a_bridge_with_ports_of_others_is_left_and_so_is_its_namespace() {
    let mut kernel = Kernel::new();
    kernel.apply(BRIDGED);
    let bridge = kernel.at("x/br0").index;
    kernel.link("x/eth1", LinkKind::Other("dummy".to_owned()));
    kernel.at("x/eth1").master = Some(bridge);
    assert_eq!(
        kernel.plan_delete(BRIDGED).left,
        [
            r#"namespace "x": interface br0: interface eth1 is still a port of it and not of this file's making; use `ip link set INTERFACE nomaster`, then delete again"#,
            r#"namespace "x": interfaces br0, eth1 are not of this file's making and would go with it; move or delete that first, then delete again"#,
        ]
    );
    assert_eq!(kernel.delete(BRIDGED), [r#"delete pair a in "x" <-> b on the host"#]);
}

#[test]
fn a_namespace_that_nobody_could_look_into_is_left() {
    let mut kernel = Kernel::new();
    kernel.unseen("orange");
    let plan = kernel.plan_delete(DEMO);
    assert_eq!(plan.left.len(), 1);
    assert!(plan.left[0].contains("could not be looked into (Permission denied)"));
}

#[test]
fn a_link_that_is_no_bridge_is_left_alone() {
    let plan = Kernel::new().plan_delete("bridges: [{name: eth0}]");
    assert_eq!((plan.actions.len(), plan.left.len()), (0, 0));
    assert_eq!(plan.notes, ["interface eth0 is not a bridge; left alone"]);
}
