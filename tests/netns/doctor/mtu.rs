//! Faults of size: found before the first packet is lost.

use anyhow::{Context as _, Result, ensure};
use veth_agent::preflight::Feature;
use veth_tests::{
    Agent, Finding, Node, built_with, cured, doctor, healthy, lacks, mend, on_node, run, skipped,
    try_run,
};

use super::{answers, answers_soon, bridged, direct, routed, uplink};

/// Payload of a ping that fills 1,500 bytes.
const FULL: u32 = 1472;

#[test]
fn the_ends_of_a_pair() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green link set tap2 mtu 1400")?;
        let finding = cured(node, "mtu", "green/tap2")?;
        ensure!(finding.what.contains("1400") && finding.what.contains("1500"), "{finding:?}");
        answers_soon(node, "orange", "192.168.1.3", FULL)
    });
}

/// One value that the host's way out allows: then the other end is what has to change.
#[test]
fn the_host_sends_on_no_more() {
    on_node(|node| {
        routed(node)?;
        uplink(node, 1400)?;
        run("ip -n red link set red1 mtu 1400")?;
        run("ip -n blue link set blue1 mtu 1400")?;
        run("ip link set blue0 mtu 1400")?;
        let finding = cured(node, "mtu", "red/red1")?;
        ensure!(finding.mend.as_deref() == Some("ip link set dev red0 mtu 1400"), "{finding:?}");
        Ok(())
    });
}

#[test]
fn a_smaller_port_of_a_bridge() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set blue0 mtu 1400")?;
        ensure!(!answers("red", "10.0.0.3", FULL)?);
        cured(node, "mtu", "host/blue0")?;
        answers_soon(node, "red", "10.0.0.3", FULL)
    });
}

/// A whole pair that is smaller than the others on its bridge.
#[test]
fn a_smaller_pair_on_a_bridge() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set blue0 mtu 1400")?;
        run("ip -n blue link set blue1 mtu 1400")?;
        ensure!(!answers("red", "10.0.0.3", FULL)?);
        cured(node, "mtu", "host/blue0")?;
        answers_soon(node, "red", "10.0.0.3", FULL)
    });
}

#[test]
fn a_bridge_larger_than_its_ports() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set br0 mtu 9000")?;
        ensure!(try_run("ping -q -c 1 -W 1 -M do -s 2000 10.0.0.2")?.code != 0);
        let finding = cured(node, "mtu", "host/br0")?;
        ensure!(finding.mend.as_deref() == Some("ip link set dev br0 mtu 1500"), "{finding:?}");
        Ok(())
    });
}

#[test]
fn a_bridge_smaller_than_its_ports() {
    on_node(|node| {
        bridged(node)?;
        run("ip link set br0 mtu 1400")?;
        cured(node, "mtu", "host/br0")?;
        Ok(())
    });
}

/// The host's default route leads over a link that takes less than the pods send.
#[test]
fn pods_and_uplink() {
    on_node(|node| {
        routed(node)?;
        uplink(node, 1400)?;
        let finding = cured(node, "uplink-mtu", "host/up0")?;
        ensure!(finding.severity == "warning", "{finding:?}");
        for name in ["red", "blue"] {
            let route = run(&format!("ip -n {name} route show default"))?.stdout;
            ensure!(route.contains("mtu 1400"), "{route}");
        }
        // Between themselves they are not limited.
        answers_soon(node, "red", "10.1.2.1", FULL)
    });
}

/// As Cilium sets it: the link takes more than the routes use.
#[test]
fn a_smaller_route_explains_a_larger_link() {
    on_node(|node| {
        routed(node)?;
        uplink(node, 1400)?;
        for (name, net) in [("red", 2), ("blue", 3)] {
            run(&format!("ip -n {name} route replace default via 10.1.{net}.1 mtu 1400"))?;
        }
        healthy(node)
    });
}

#[test]
fn a_route_that_promises_too_much() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange route add 10.7.0.0/16 via 192.168.1.3 mtu 9000")?;
        cured(node, "route-mtu", "orange/tap1")?;
        Ok(())
    });
}

/// What a tunnel puts around packets has to fit, too.
fn tunnel(node: &Node, kind: &str, options: &str, overhead: u32) -> Result<()> {
    bridged(node)?;
    uplink(node, 1500)?;
    run("sysctl -qw net.ipv4.ip_forward=1")?;
    run(&format!("ip link add tun7 type {kind} {options}"))?;
    run(&format!("ip link set tun7 mtu {} up", 1500 - overhead))?;
    healthy(node)?;
    // The link below shrinks, and nobody tells the tunnel.
    run("ip link set up0 mtu 1450")?;
    run("ip -n world link set w0 mtu 1450")?;
    for name in ["red", "blue"] {
        run(&format!("ip -n {name} route replace default via 10.0.0.1 mtu {}", 1450 - overhead))?;
    }
    let finding = cured(node, "tunnel-mtu", "host/tun7")?;
    let mend = format!("ip link set dev tun7 mtu {}", 1450 - overhead);
    ensure!(finding.mend.as_deref() == Some(mend.as_str()), "{finding:?}");
    // Pods that send more than fits into the tunnel, and whose packets go that way.
    run("ip route add 10.8.0.0/16 dev tun7")?;
    run("ip -n red route replace default via 10.0.0.1")?;
    let found = doctor("")?;
    ensure!(found.len() == 1 && found[0].check == "uplink-mtu", "{found:?}");
    ensure!(found[0].at == "host/tun7", "{found:?}");
    cured(node, "uplink-mtu", "host/tun7")?;
    Ok(())
}

#[test]
fn a_vxlan_tunnel() {
    on_node(|node| tunnel(node, "vxlan", "id 7 dstport 4789 remote 10.9.0.2 dev up0", 50));
}

#[test]
fn a_vxlan_tunnel_that_names_no_device() {
    on_node(|node| tunnel(node, "vxlan", "id 7 dstport 4789 remote 10.9.0.2", 50));
}

/// Kinds that not every kernel has.
fn tunnel_if_any(option: &str, kind: &'static str, options: &'static str, overhead: u32) {
    if built_with(option) {
        on_node(move |node| tunnel(node, kind, options, overhead));
    } else {
        skipped(option);
    }
}

#[test]
fn a_gre_tunnel() {
    tunnel_if_any("CONFIG_NET_IPGRE", "gre", "remote 10.9.0.2 local 10.9.0.1", 24);
}

#[test]
fn a_gre_tunnel_with_a_key() {
    tunnel_if_any("CONFIG_NET_IPGRE", "gre", "remote 10.9.0.2 local 10.9.0.1 key 7", 28);
}

#[test]
fn an_ipip_tunnel() {
    tunnel_if_any("CONFIG_NET_IPIP", "ipip", "remote 10.9.0.2 local 10.9.0.1", 20);
}

#[test]
fn a_geneve_tunnel() {
    tunnel_if_any("CONFIG_GENEVE", "geneve", "id 7 remote 10.9.0.2", 50);
}

#[test]
fn a_wireguard_tunnel() {
    tunnel_if_any("CONFIG_WIREGUARD", "wireguard", "", 60);
}

/// The host drops what is too big and says so: a warning. Where a firewall eats what it says, an error.
#[test]
fn a_black_hole_is_told_from_working_discovery() {
    if lacks(Feature::DropReasons) {
        return;
    }
    on_node(|node| {
        routed(node)?;
        uplink(node, 1400)?;
        run("ip -n world route add default via 10.9.0.1")?;
        let _daemon = Agent::start(node, "")?;
        answers_soon(node, "red", "10.9.0.2", 56)?;
        let uplink = || -> Result<Finding> {
            let found = doctor("")?;
            found.into_iter().find(|it| it.check == "uplink-mtu").context("no finding")
        };
        for table in ["", "eats"] {
            if !table.is_empty() {
                run("nft add table ip eats")?;
                run("nft add chain ip eats out { type filter hook output priority 0 ; }")?;
                run("nft add rule ip eats out icmp type destination-unreachable counter drop")?;
            }
            let (netns, told) = if table.is_empty() { ("red", true) } else { ("blue", false) };
            // The second packet uses what the first one's sender has learned; before, it is not listed.
            for _ in 0..2 {
                ensure!(!answers(netns, "10.9.0.2", FULL)?);
            }
            let finding = uplink()?;
            let severity = if told { "warning" } else { "error" };
            ensure!(finding.severity == severity, "{finding:?}");
            let evidence = finding.evidence.join("; ");
            ensure!(
                evidence.contains(&format!("reached {netns}/{netns}1: it is told")) == told,
                "{evidence}"
            );
            // What it was told, its kernel keeps.
            let learned = "learned a path MTU of 1400 to 10.9.0.2";
            ensure!(!told || evidence.contains(learned), "{evidence}");
            ensure!(
                evidence.contains(&format!("{netns}/{netns}1 dropped as too big, and no error"))
                    != told,
                "{evidence}"
            );
        }
        // Who eats them is told beside it, and both can be mended.
        let found = doctor("")?;
        ensure!(found.len() == 2 && found.iter().any(|it| it.check == "firewall"), "{found:?}");
        for finding in &found {
            mend(node, finding)?;
        }
        healthy(node)
    });
}
