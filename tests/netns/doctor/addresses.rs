//! Faults of addresses and routes.

use anyhow::ensure;
use veth_tests::{cured, healthy, on_node, run};

use super::{answers, answers_soon, bridged, direct};

#[test]
fn no_address() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green addr del 192.168.1.3/24 dev tap2")?;
        let finding = cured(node, "no-address", "green/tap2")?;
        // From the peer's subnet, and not the peer's own.
        let mend = finding.mend.unwrap_or_default();
        ensure!(mend.contains("addr add 192.168.1.1/24"), "{mend}");
        answers_soon(node, "orange", "192.168.1.1", 56)
    });
}

#[test]
fn no_address_on_either_end() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange addr del 192.168.1.2/24 dev tap1")?;
        run("ip -n green addr del 192.168.1.3/24 dev tap2")?;
        let finding = cured(node, "no-address", "green/tap2")?;
        ensure!(finding.what.contains("neither"), "{finding:?}");
        answers_soon(node, "orange", "10.255.0.1", 56)
    });
}

#[test]
fn no_address_on_a_bridged_pod() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n red addr flush dev red1")?;
        cured(node, "no-address", "red/red1")?;
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

#[test]
fn different_subnets() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green addr del 192.168.1.3/24 dev tap2")?;
        run("ip -n green addr add 192.168.2.3/24 dev tap2")?;
        ensure!(!answers("orange", "192.168.2.3", 56)?);
        cured(node, "subnet", "green/tap2")?;
        answers_soon(node, "orange", "192.168.2.3", 56)
    });
}

#[test]
fn a_bridged_pod_in_a_different_subnet() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n red addr flush dev red1")?;
        run("ip -n red addr add 10.9.0.2/24 dev red1")?;
        ensure!(!answers("red", "10.0.0.1", 56)?);
        cured(node, "subnet", "red/red1")?;
        answers_soon(node, "red", "10.0.0.1", 56)
    });
}

/// Both ends with a whole-address prefix, as in the third walk-through.
#[test]
fn a_missing_route() {
    on_node(|node| {
        node.quiet_netns("blue")?;
        run("ip link add veth0 type veth peer name veth1 netns blue")?;
        run("ip addr add 10.0.0.10/32 dev veth0")?;
        run("ip -n blue addr add 10.0.0.1/32 dev veth1")?;
        run("ip link set veth0 up")?;
        run("ip -n blue link set veth1 up")?;
        run("ip route add 10.0.0.1 dev veth0")?;
        ensure!(!answers("blue", "10.0.0.10", 56)?);
        let finding = cured(node, "route", "blue/veth1")?;
        ensure!(finding.what.contains("no route to 10.0.0.10"), "{finding:?}");
        answers_soon(node, "blue", "10.0.0.10", 56)
    });
}

/// The same subnet also exists elsewhere, and that link is asked first.
#[test]
fn a_route_that_points_to_another_device() {
    on_node(|node| {
        node.quiet_netns("blue")?;
        node.quiet_netns("other")?;
        run("ip link add elsewhere type veth peer name e1 netns other")?;
        run("ip addr add 10.0.0.20/24 dev elsewhere")?;
        run("ip link set elsewhere up")?;
        run("ip -n other addr add 10.0.0.21/24 dev e1")?;
        run("ip -n other link set e1 up")?;
        run("ip link add veth0 type veth peer name veth1 netns blue")?;
        run("ip addr add 10.0.0.10/24 dev veth0")?;
        run("ip -n blue addr add 10.0.0.1/24 dev veth1")?;
        run("ip link set veth0 up")?;
        run("ip -n blue link set veth1 up")?;
        ensure!(!answers("blue", "10.0.0.10", 56)?);
        let finding = cured(node, "route", "host/veth0")?;
        ensure!(finding.evidence[0].contains("is sent to elsewhere"), "{finding:?}");
        answers_soon(node, "blue", "10.0.0.10", 56)
    });
}

/// A more specific route with a metric of its own.
#[test]
fn a_route_with_a_metric_is_replaced_and_not_added_to() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange route add 192.168.1.3/32 dev lo metric 7")?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        cured(node, "route", "orange/tap1")?;
        let routes = run("ip -n orange route show 192.168.1.3")?.stdout;
        ensure!(routes.lines().count() == 1 && routes.contains("dev tap1"), "{routes}");
        healthy(node)
    });
}
