//! What looks like a fault, and works, or may: nothing is said of it.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use veth_tests::{cured, healthy, mac_text, on_node, run, skipped};

use super::{answers, answers_soon, bridged, direct, routed, uplink};

/// Nobody has to ask who was told; one of the two alone is told in vain.
#[test]
fn neighbours_for_good_need_no_arp() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange link set tap1 arp off")?;
        run("ip -n green link set tap2 arp off")?;
        let tell = |netns: &str, end: &str, address: &str, mac: &str| {
            let entry = format!("{address} lladdr {mac} dev {end} nud permanent");
            run(&format!("ip -n {netns} neighbour replace {entry}"))
        };
        tell("orange", "tap1", "192.168.1.3", &mac_text("green", "tap2")?)?;
        tell("green", "tap2", "192.168.1.2", &mac_text("orange", "tap1")?)?;
        ensure!(answers("orange", "192.168.1.3", 56)?);
        healthy(node)?;
        run("ip -n green neighbour del 192.168.1.2 dev tap2")?;
        run("ip -n green link set tap2 arp on")?;
        cured(node, "neighbour", "orange/tap1")?;
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// As Cilium has it: a pair within the host that programs use, and ends of pods without an address, for
/// the host has the pods' gateway elsewhere and sends to them by programs.
#[test]
fn ends_that_programs_use() {
    on_node(|node| {
        for line in [
            "ip link add host0 type veth peer name net0",
            "ip link set host0 arp off up",
            "ip link set net0 arp off up",
            "ip addr add 10.244.0.1/32 dev host0",
            "ip route add 10.244.0.1 dev host0 scope link",
            "ip route add 10.244.0.0/24 via 10.244.0.1 dev host0 src 10.244.0.1",
            "sysctl -qw net.ipv4.ip_forward=1",
        ] {
            run(line)?;
        }
        for (name, host) in [("red", 2), ("blue", 3)] {
            node.quiet_netns(name)?;
            run(&format!("ip link add {name}0 type veth peer name {name}1 netns {name}"))?;
            run(&format!("ip link set {name}0 up"))?;
            run(&format!("ip -n {name} addr add 10.244.0.{host}/32 dev {name}1"))?;
            run(&format!("ip -n {name} link set {name}1 up"))?;
            run(&format!("ip -n {name} route add 10.244.0.1 dev {name}1 scope link"))?;
            run(&format!("ip -n {name} route add default via 10.244.0.1 dev {name}1"))?;
        }
        healthy(node)
    });
}

/// Pairs that have link-local addresses only, of IPv4 or of IPv6, and one that lies within the host.
#[test]
fn addresses_of_the_link_are_enough() {
    on_node(|node| {
        direct(node)?;
        for (netns, end, host) in [("orange", "tap1", 2), ("green", "tap2", 3)] {
            run(&format!("ip -n {netns} addr flush dev {end}"))?;
            run(&format!("ip -n {netns} addr add 169.254.109.{host}/31 dev {end}"))?;
        }
        ensure!(answers("orange", "169.254.109.3", 56)?);
        run("ip link add in0 type veth peer name in1")?;
        run("ip link set in0 up")?;
        run("ip link set in1 up")?;
        run("ip route add 169.254.1.1 dev in0 scope link")?;
        healthy(node)?;
        for (netns, end) in [("orange", "tap1"), ("green", "tap2")] {
            run(&format!("ip -n {netns} addr flush dev {end} scope link"))?;
            let switch = format!("net.ipv6.conf.{end}.disable_ipv6");
            run(&format!("nsenter --net=/run/netns/{netns} sysctl -qw {switch}=1"))?;
            run(&format!("nsenter --net=/run/netns/{netns} sysctl -qw {switch}=0"))?;
        }
        node.eventually("both have one", Duration::from_secs(20), || {
            let shown = run("ip -n green -6 addr show dev tap2 scope link -tentative")?.stdout;
            Ok(shown.contains("fe80").then_some(()))
        })?;
        healthy(node)
    });
}

/// A gateway's address that no link has, and that the host takes for its own.
#[test]
fn an_address_of_the_table_of_local_routes() {
    on_node(|node| {
        routed(node)?;
        run("ip addr flush dev red0")?;
        run("ip route add 10.1.2.0/24 dev red0")?;
        run("ip route add local 10.1.2.1 dev lo")?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        healthy(node)
    });
}

/// An IPv6 gateway that another link has: a program may answer, until nobody does.
#[test]
fn an_ipv6_gateway_on_another_link() {
    on_node(|node| {
        bridged(node)?;
        run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        run("ip addr add fd00::1/128 dev lo")?;
        run("ip route add fd00::6 dev br0")?;
        run("ip -n red addr add fd00::6/128 dev red1 nodad")?;
        run("ip -n red route add fd00::1 dev red1")?;
        run("ip -n red -6 route add default via fd00::1 dev red1")?;
        healthy(node)?;
        ensure!(!answers("red", "fd00::1", 56)?);
        cured(node, "next-hop", "red/red1")?;
        answers_soon(node, "red", "fd00::1", 56)
    });
}

/// Where each packet says to where it goes, no link below limits the tunnel.
#[test]
fn a_tunnel_that_packets_tell_where_to_go() {
    on_node(|node| {
        bridged(node)?;
        uplink(node, 1500)?;
        run("sysctl -qw net.ipv4.ip_forward=1")?;
        run("ip link add tun7 type vxlan external dstport 4789")?;
        run("ip link set tun7 mtu 65000 up")?;
        healthy(node)
    });
}

/// Pods send no IPv6, and the host none of their packets by a way that it keeps for want of another.
#[test]
fn narrow_ways_out_that_pods_do_not_take() {
    on_node(|node| {
        routed(node)?;
        uplink(node, 1500)?;
        for line in [
            "ip tuntap add narrow0 mode tap",
            "ip link set narrow0 mtu 1400 up",
            "ip addr add 10.9.7.1/24 dev narrow0",
            "ip -6 route add default dev narrow0",
            "ip route add default via 10.9.7.2 metric 500",
        ] {
            run(line)?;
        }
        healthy(node)
    });
}

/// Since Linux 6.17, links forward IPv6 one by one.
#[test]
fn ipv6_that_single_links_forward() {
    on_node(|node| {
        routed(node)?;
        if !Path::new("/proc/sys/net/ipv6/conf/red0/force_forwarding").exists() {
            skipped("force_forwarding of IPv6");
            return Ok(());
        }
        for (name, net) in [("red", 2), ("blue", 3)] {
            run(&format!("ip addr add fd0{net}::1/64 dev {name}0 nodad"))?;
            run(&format!("ip -n {name} addr add fd0{net}::2/64 dev {name}1 nodad"))?;
            run(&format!("ip -n {name} -6 route add default via fd0{net}::1"))?;
            run(&format!("sysctl -qw net.ipv6.conf.{name}0.force_forwarding=1"))?;
        }
        answers_soon(node, "red", "fd03::2", 56)?;
        healthy(node)
    });
}
