//! Routes that a mend writes again: they keep what they have.

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, cured, doctor, on_node, run};

use super::{answers, answers_soon, bridged, uplink};

/// A pod that shares no subnet with its host, whose way out is narrow.
fn pointed(node: &Node) -> Result<()> {
    node.quiet_netns("red")?;
    for line in [
        "ip link add red0 type veth peer name red1 netns red",
        "ip addr add 10.3.0.1/32 dev red0",
        "ip link set red0 up",
        "ip -n red addr add 10.3.0.2/32 dev red1",
        "ip -n red link set red1 up",
        "ip route add 10.3.0.2 dev red0",
        "sysctl -qw net.ipv4.ip_forward=1",
    ] {
        run(line)?;
    }
    uplink(node, 1400)?;
    run("ip -n world route add 10.3.0.2 via 10.9.0.1")?;
    Ok(())
}

/// The default route of a namespace, in the kernel's words.
fn default_of(netns: &str) -> Result<String> {
    Ok(run(&format!("ip -4 -n {netns} route show default"))?.stdout.trim().to_owned())
}

#[test]
fn by_a_gateway_of_the_other_family() {
    on_node(|node| {
        pointed(node)?;
        run("sysctl -qw net.ipv6.conf.red0.disable_ipv6=0")?;
        run("nsenter --net=/run/netns/red sysctl -qw net.ipv6.conf.red1.disable_ipv6=0")?;
        run("ip addr add fe80::1/64 dev red0 nodad")?;
        run("ip -n red addr add fe80::2/64 dev red1 nodad")?;
        run("ip -4 -n red route add default via inet6 fe80::1 dev red1")?;
        answers_soon(node, "red", "10.9.0.2", 56)?;
        let before = default_of("red")?;
        cured(node, "uplink-mtu", "host/up0")?;
        let after = default_of("red")?;
        ensure!(after == format!("{before} mtu 1400"), "{before}: {after}");
        ensure!(answers("red", "10.9.0.2", 56)?);
        Ok(())
    });
}

#[test]
fn with_all_that_it_has() {
    on_node(|node| {
        pointed(node)?;
        run("ip -n red addr add 10.3.0.7/32 dev red1")?;
        run("ip -n red route add default via 10.3.0.1 dev red1 onlink proto 186 \
             src 10.3.0.2 metric 50 window 9000 rtt 800ms rttvar 20 ssthresh 7 cwnd 8 advmss 1300 \
             reordering 5 hoplimit 40 initcwnd 30 initrwnd 20 rto_min 50ms quickack 1 \
             fastopen_no_cookie 1 features ecn")?;
        let before = default_of("red")?;
        cured(node, "uplink-mtu", "host/up0")?;
        let after = default_of("red")?;
        let with_mtu = before.replace(" window", " mtu 1400 window");
        ensure!(after == with_mtu, "{with_mtu}: {after}");
        Ok(())
    });
}

/// What `ip route` would not say again: a nexthop that others use, too, and a locked metric.
#[test]
fn or_is_left_alone() {
    on_node(|node| {
        pointed(node)?;
        run("ip -n red nexthop add id 7 via 10.3.0.1 dev red1 onlink")?;
        for route in ["nhid 7", "via 10.3.0.1 dev red1 onlink hoplimit lock 9"] {
            run(&format!("ip -n red route replace default {route}"))?;
            let found = doctor("")?;
            let finding = found.iter().find(|it| it.check == "uplink-mtu").context("none")?;
            ensure!(finding.mend.is_none() && found.len() == 1, "{found:?}");
        }
        Ok(())
    });
}

#[test]
fn with_a_new_address() {
    on_node(|node| {
        bridged(node)?;
        run("ip -n red route replace default via 10.0.0.1 mtu 1400 advmss 1300")?;
        run("ip -n red route add 10.7.0.0/16 dev red1 src 10.0.0.2")?;
        run("ip -n blue addr del 10.0.0.3/24 dev blue1")?;
        run("ip -n blue addr add 10.0.0.2/24 dev blue1")?;
        run("ip -n blue route replace default via 10.0.0.1 mtu 1400 advmss 1300 metric 9")?;
        run("ip -n blue route add 10.7.0.0/16 dev blue1 src 10.0.0.2")?;
        let before = default_of("blue")?;
        let finding = cured(node, "duplicate-address", "blue/blue1")?;
        let after = default_of("blue")?;
        ensure!(after == before, "{before}: {after}");
        let beside = run("ip -n blue route show 10.7.0.0/16")?.stdout;
        ensure!(beside.contains("src 10.0.0.3"), "{beside}: {finding:?}");
        // One that cannot be written again would be lost.
        run("ip -n blue addr add 10.0.0.2/24 dev blue1")?;
        run("ip -n blue route add 10.8.0.0/16 via 10.0.0.1 hoplimit lock 9")?;
        let found = doctor("")?;
        ensure!(found.len() == 1 && found[0].mend.is_none(), "{found:?}");
        Ok(())
    });
}
