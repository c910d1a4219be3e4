//! Faults of addresses and routes.

use anyhow::{Result, ensure};
use veth_tests::{Node, cured, doctor, healthy, mend, on_node, run};

use super::{answers, answers_soon, bridged, direct, routed};

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
        // With those of IPv6, they would reach each other.
        for (netns, end) in [("orange", "tap1"), ("green", "tap2")] {
            let switch = format!("net.ipv6.conf.{end}.disable_ipv6=1");
            run(&format!("nsenter --net=/run/netns/{netns} sysctl -qw {switch}"))?;
        }
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

/// A host and a namespace without a subnet in common, as in the third walk-through.
fn pointed(node: &Node) -> Result<()> {
    node.quiet_netns("blue")?;
    for line in [
        "ip link add veth0 type veth peer name veth1 netns blue",
        "ip addr add 10.0.0.10/32 dev veth0",
        "ip -n blue addr add 10.0.0.1/32 dev veth1",
        "ip link set veth0 up",
        "ip -n blue link set veth1 up",
        "ip route add 10.0.0.1 dev veth0",
        "ip -n blue route add 10.0.0.10 dev veth1",
    ] {
        run(line)?;
    }
    healthy(node)
}

/// The host sends to the address still: that one it is.
#[test]
fn no_address_where_there_is_no_subnet() {
    on_node(|node| {
        pointed(node)?;
        run("ip -n blue addr flush dev veth1")?;
        let mend = cured(node, "no-address", "blue/veth1")?.mend.unwrap_or_default();
        ensure!(mend.contains("addr add 10.0.0.1/32"), "{mend}");
        answers_soon(node, "blue", "10.0.0.10", 56)?;
        run("ip addr del 10.0.0.10/32 dev veth0")?;
        let mend = cured(node, "no-address", "host/veth0")?.mend.unwrap_or_default();
        ensure!(mend.contains("addr add 10.0.0.10/32"), "{mend}");
        answers_soon(node, "blue", "10.0.0.10", 56)
    });
}

/// Where nobody knows which it was, it is one that nobody has, with a route each way.
#[test]
fn no_address_and_no_route_to_tell_which() {
    on_node(|node| {
        pointed(node)?;
        run("ip -n blue addr flush dev veth1")?;
        run("ip route del 10.0.0.1 dev veth0")?;
        let mend = cured(node, "no-address", "blue/veth1")?.mend.unwrap_or_default();
        ensure!(mend.contains("addr add 10.0.0.1/32"), "{mend}");
        answers_soon(node, "blue", "10.0.0.10", 56)
    });
}

/// A subnet of two (RFC 3021) has no address to spare.
#[test]
fn no_address_in_a_subnet_of_two() {
    on_node(|node| {
        node.netns("blue")?;
        run("ip link add veth0 type veth peer name veth1 netns blue")?;
        run("ip addr add 10.0.0.11/31 dev veth0")?;
        run("ip link set veth0 up")?;
        run("ip -n blue link set veth1 up")?;
        let mend = cured(node, "no-address", "blue/veth1")?.mend.unwrap_or_default();
        ensure!(mend.ends_with("addr add 10.0.0.10/31 dev veth1"), "{mend}");
        answers_soon(node, "blue", "10.0.0.11", 56)?;
        run("ip -n blue addr add 10.0.0.11/31 dev veth1")?;
        let mend = cured(node, "duplicate-address", "blue/veth1")?.mend.unwrap_or_default();
        ensure!(mend.ends_with("addr del 10.0.0.11/31 dev veth1"), "{mend}");
        answers_soon(node, "blue", "10.0.0.11", 56)
    });
}

/// The containers' gateway is the address that is missing, and what they send to tells which.
#[test]
fn a_host_that_has_lost_its_address() {
    on_node(|node| {
        routed(node)?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        run("ip addr flush dev red0")?;
        ensure!(!answers("red", "10.1.3.2", 56)?);
        let mend = cured(node, "no-address", "host/red0")?.mend.unwrap_or_default();
        ensure!(mend == "ip addr add 10.1.2.1/24 dev red0", "{mend}");
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// With the address, the kernel takes the routes by way of others.
#[test]
fn a_routed_pod_that_has_lost_its_address() {
    on_node(|node| {
        routed(node)?;
        run("ip -n red addr flush dev red1")?;
        cured(node, "no-address", "red/red1")?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// What others send to as their gateway is not free, although nobody has it.
#[test]
fn no_address_is_proposed_that_others_send_to() {
    on_node(|node| {
        bridged(node)?;
        run("ip addr flush dev br0")?;
        run("ip -n red addr flush dev red1")?;
        let found = doctor("")?;
        let checks: Vec<_> = found.iter().map(|it| it.check.as_str()).collect();
        ensure!(checks == ["next-hop", "no-address"], "{found:?}");
        let proposed = found[1].mend.clone().unwrap_or_default();
        ensure!(proposed.contains("addr add 10.0.0.2/24 dev red1"), "{proposed}");
        for finding in &found {
            mend(node, finding)?;
        }
        healthy(node)?;
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

#[test]
fn a_gateway_that_nobody_has() {
    on_node(|node| {
        bridged(node)?;
        run("ip addr flush dev br0")?;
        ensure!(!answers("red", "10.0.0.1", 56)?);
        let finding = cured(node, "next-hop", "blue/blue1")?;
        ensure!(finding.what.contains("10.0.0.1, which nobody has"), "{finding:?}");
        answers_soon(node, "red", "10.0.0.1", 56)?;
        answers_soon(node, "blue", "10.0.0.1", 56)
    });
}

/// It is in another subnet now; what the pod sends to tells in which it was.
#[test]
fn a_gateway_that_has_another_address() {
    on_node(|node| {
        routed(node)?;
        run("ip addr flush dev red0")?;
        run("ip addr add 10.77.0.1/24 dev red0")?;
        ensure!(!answers("red", "10.1.3.2", 56)?);
        cured(node, "next-hop", "red/red1")?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// A container that others reach by their host, and that cannot answer them.
#[test]
fn a_missing_default_route() {
    on_node(|node| {
        routed(node)?;
        let ipv6 = [("red", 2), ("blue", 3)];
        run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        for (name, net) in ipv6 {
            run(&format!("ip addr add fd0{net}::1/64 dev {name}0 nodad"))?;
            run(&format!("ip -n {name} addr add fd0{net}::2/64 dev {name}1 nodad"))?;
            run(&format!("ip -n {name} -6 route add default via fd0{net}::1"))?;
        }
        for (family, address) in [("-4", "10.1.3.2"), ("-6", "fd03::2")] {
            answers_soon(node, "red", address, 56)?;
            run(&format!("ip -n red {family} route del default"))?;
            ensure!(!answers("red", address, 56)?);
            let finding = cured(node, "route", "red/red1")?;
            ensure!(finding.evidence.iter().any(|it| it.contains("blue/blue1")), "{finding:?}");
            answers_soon(node, "red", address, 56)?;
        }
        Ok(())
    });
}

/// Where a firewall of the host chooses who may speak to whom, it may be meant so.
#[test]
fn a_container_that_is_kept_apart_on_purpose() {
    on_node(|node| {
        routed(node)?;
        run("ip -n red route del default")?;
        run("nft add table ip f")?;
        run("nft add chain ip f forward { type filter hook forward priority 0 ; }")?;
        run("nft add rule ip f forward oifname red0 drop")?;
        healthy(node)
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
        answers_soon(node, "red", "10.0.0.1", 56)?;
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

/// Both ends with a whole-address prefix, as in the third walk-through.
#[test]
fn a_missing_route() {
    on_node(|node| {
        pointed(node)?;
        run("ip -n blue route del 10.0.0.10 dev veth1")?;
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
