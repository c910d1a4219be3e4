//! Faults of what ends have in common: a bridge, addresses, MACs.

use std::time::Duration;

use anyhow::ensure;
use veth_tests::{cured, mac_text, on_node, run};

use super::{answers, answers_soon, bridged, direct};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_port_that_does_not_forward() {
    on_node(|node| {
        bridged(node)?;
        // News of the carrier, which may be late, would let it forward again.
        node.eventually("the bridge has heard of the carrier", SOON, || {
            let shown = run("ip -br link show dev red0")?.stdout;
            Ok((shown.split_whitespace().nth(1) == Some("UP")).then_some(()))
        })?;
        run("bridge link set dev red0 state 0")?;
        ensure!(!answers("red", "10.0.0.3", 56)?);
        let finding = cured(node, "port-state", "host/red0")?;
        ensure!(finding.what.contains("disabled"), "{finding:?}");
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

#[test]
fn ports_isolated_from_each_other() {
    on_node(|node| {
        bridged(node)?;
        run("bridge link set dev red0 isolated on")?;
        run("bridge link set dev blue0 isolated on")?;
        ensure!(!answers("red", "10.0.0.3", 56)? && answers("red", "10.0.0.1", 56)?);
        cured(node, "port-isolation", "host/red0")?;
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

#[test]
fn two_pods_share_an_address() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n blue addr del 10.0.0.3/24 dev blue1")?;
        run("ip -n blue addr add 10.0.0.2/24 dev blue1")?;
        run("ip -n blue route add default via 10.0.0.1")?;
        let what = cured(node, "duplicate-address", "blue/blue1")?.what;
        ensure!(what.contains("red/red1") && what.contains("10.0.0.2"), "{what}");
        for name in ["red", "blue"] {
            answers_soon(node, name, "10.0.0.1", 56)?;
            let route = run(&format!("ip -n {name} route show default"))?.stdout;
            ensure!(route.contains("via 10.0.0.1"), "{name} has lost its way out: {route}");
        }
        Ok(())
    });
}

#[test]
fn a_pod_has_the_address_of_its_gateway() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n blue addr add 10.0.0.1/24 dev blue1")?;
        let finding = cured(node, "duplicate-address", "blue/blue1")?;
        ensure!(finding.what.contains("host/br0"), "{finding:?}");
        Ok(())
    });
}

#[test]
fn both_ends_have_one_address() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green addr del 192.168.1.3/24 dev tap2")?;
        run("ip -n green addr add 192.168.1.2/24 dev tap2")?;
        cured(node, "duplicate-address", "green/tap2")?;
        Ok(())
    });
}

/// The kernel notices by itself, and keeps the address out of use.
#[test]
fn duplicate_address_detection_has_failed() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange addr add fd00::2/64 dev tap1 nodad")?;
        run("ip -n green addr add fd00::2/64 dev tap2")?;
        node.eventually("the kernel notices", SOON, || {
            let shown = run("ip -n green -6 addr show dev tap2 dadfailed")?.stdout;
            Ok(shown.contains("fd00::2").then_some(()))
        })?;
        let finding = cured(node, "duplicate-address", "green/tap2")?;
        ensure!(finding.what.contains("orange/tap1"), "{finding:?}");
        Ok(())
    });
}

#[test]
fn two_pods_share_a_mac() {
    on_node(|node| {
        bridged(node)?;
        let mac = mac_text("red", "red1")?;
        run(&format!("ip -n blue link set blue1 address {mac}"))?;
        let what = cured(node, "duplicate-mac", "blue/blue1")?.what;
        ensure!(what.contains(&mac) && what.contains("red/red1"), "{what}");
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

/// A bridge keeps what is sent to the MAC of one of its ports, be it the pod's own or another's.
fn has_the_mac_of(port: &'static str) {
    on_node(move |node| {
        bridged(node)?;
        let mac = mac_text("red", "red1")?;
        run(&format!("ip link set {port} address {mac}"))?;
        ensure!(!answers("blue", "10.0.0.2", 56)?);
        let what = cured(node, "duplicate-mac", "red/red1")?.what;
        ensure!(what.contains(&format!("host/{port}")), "{what}");
        answers_soon(node, "blue", "10.0.0.2", 56)
    });
}

#[test]
fn a_pod_has_the_mac_of_its_own_port() {
    has_the_mac_of("red0");
}

#[test]
fn a_pod_has_the_mac_of_another_port() {
    has_the_mac_of("blue0");
}
