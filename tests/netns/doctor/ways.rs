//! Ways of the host, and who asks for what.

use anyhow::ensure;
use veth_tests::{cured, doctor, healthy, on_node, run};

use super::{answers, answers_soon, bridged, direct, routed, uplink};

#[test]
fn an_uplink_that_does_not_forward() {
    on_node(|node| {
        routed(node)?;
        uplink(node, 1500)?;
        run("ip -n world route add 10.1.0.0/16 via 10.9.0.1")?;
        answers_soon(node, "red", "10.9.0.2", 56)?;
        run("sysctl -qw net.ipv4.conf.up0.forwarding=0")?;
        ensure!(!answers("red", "10.9.0.2", 56)?);
        let finding = cured(node, "forwarding", "host/up0")?;
        ensure!(finding.what.contains("comes back by up0"), "{finding:?}");
        answers_soon(node, "red", "10.9.0.2", 56)
    });
}

/// A cable that is dead at its other end is dead.
#[test]
fn a_namespace_is_asked_for_with_its_cables() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set red0 down")?;
        let found = doctor("red")?;
        ensure!(found.len() == 1 && found[0].at == "host/red0", "{found:?}");
        ensure!(doctor("blue")?.is_empty());
        run("ip link set red0 up")?;
        run("ip link set br0 down")?;
        let found = doctor("blue")?;
        ensure!(found.len() == 1 && found[0].at == "host/br0", "{found:?}");
        Ok(())
    });
}

/// The others on its bridge have one, by an address of the bridge.
#[test]
fn a_missing_default_route_on_a_bridge() {
    on_node(|node| {
        bridged(node)?;
        uplink(node, 1500)?;
        run("sysctl -qw net.ipv4.ip_forward=1")?;
        run("ip -n world route add 10.0.0.0/24 via 10.9.0.1")?;
        answers_soon(node, "red", "10.9.0.2", 56)?;
        run("ip -n red route del default")?;
        ensure!(!answers("red", "10.9.0.2", 56)?);
        let finding = cured(node, "route", "red/red1")?;
        ensure!(finding.evidence.iter().any(|it| it.contains("blue/blue1")), "{finding:?}");
        answers_soon(node, "red", "10.9.0.2", 56)?;
        // Nobody else has one: it may be meant so.
        run("ip -n red route del default")?;
        run("ip -n blue route del default")?;
        healthy(node)
    });
}

/// What a rule decides, no route of the main table mends.
#[test]
fn a_rule_that_comes_before_the_main_table() {
    on_node(|node| {
        direct(node)?;
        let in_vain = |rule: &str, table: &str| {
            run(&format!("ip -n orange rule add to 192.168.1.3 {rule}"))?;
            if !table.is_empty() {
                run(&format!("ip -n orange route add {table}"))?;
            }
            ensure!(!answers("orange", "192.168.1.3", 56)?);
            let found = doctor("")?;
            ensure!(found.len() == 1 && found[0].check == "route", "{found:?}");
            ensure!(found[0].mend.is_none(), "{found:?}");
            ensure!(found[0].evidence.iter().any(|it| it.contains("a rule")), "{found:?}");
            run(&format!("ip -n orange rule del to 192.168.1.3 {rule}"))?;
            healthy(node)
        };
        in_vain("prohibit", "")?;
        in_vain("table 50", "blackhole 192.168.1.0/24 table 50")
    });
}
