//! ICMP errors that name an MTU: sent, arrived, and arrived where they are about.

use anyhow::{Result, ensure};
use veth_common::{
    counters::Direction::{Rx, Tx},
    mtu::{
        Family::{self, Ipv4, Ipv6},
        Figure::{Error, Reached},
    },
};
use veth_tests::{
    Agent, Node, Qdisc, RawFrames, mac, on_node, run, udp_frame_of, udp6_frame_of, undisturbed,
};

use super::{DATAPATHS, ENDS, limits, only, pods, redirects_up_to, sees};
use crate::{
    counts::{End, Side, join, quiet},
    fastpath::{SOON, Shape, fallbacks, maps},
};

const COUNT: u64 = 25;

/// Sends packets of 1,500 bytes with DF from red to `blue`, whatever red has learnt of the way.
fn large(node: &Node, gateway: [u8; 6], family: Family) -> Result<()> {
    let from = mac("red", "r1")?;
    let v6 = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let frame = match family {
        Ipv4 => udp_frame_of(1514, gateway, from, [10, 0, 0, 2], [10, 0, 0, 3]),
        Ipv6 => udp6_frame_of(1514, gateway, from, v6(2), v6(3)),
    };
    node.within("red", || {
        let socket = RawFrames::on("r1", Qdisc::Pass)?;
        (0..COUNT).try_for_each(|_| socket.send(&frame))
    })
}

/// The host, which routes, sends no more than 1,400 bytes to blue.
fn narrow_route(node: &Node, datapath: &str) -> Result<Agent> {
    let daemon = pods(node, Shape::Routed, datapath)?;
    run("ip -n blue link set b1 mtu 1400")?;
    run("ip link set b0 mtu 1400")?;
    // What arrives at a router's end has no limit: the sender is told.
    limits(node, ENDS[1], 0, 1500)?;
    limits(node, ENDS[2], 0, 1400)?;
    redirects_up_to(node, "b0", 1400)?;
    // Known, so that the first error need not wait for the answer to a question.
    node.acquaint([("red", "r1", "10.0.0.2"), ("host", "r0", "169.254.1.1")])?;
    node.acquaint([("red", "r1", "fd00::2"), ("host", "r0", "fd01::1")])?;
    Ok(daemon)
}

const RULES: &str = "add table inet t; add chain inet t out { type filter hook output priority 0; }; \
    add rule inet t out icmp type destination-unreachable drop; \
    add rule inet t out icmpv6 type packet-too-big drop";

/// A discovery that works and one that does not differ in what reached the sender.
#[test]
fn a_routers_errors_reach_the_sender_unless_a_firewall_has_them() {
    for datapath in DATAPATHS {
        on_node(move |node| {
            let daemon = narrow_route(node, datapath)?;
            let gateway = mac("host", "r0")?;
            let none = only(&[]);
            for family in Family::BOTH {
                let _room = undisturbed()?;
                let sent = only(&[(Error(family, Tx), COUNT)]);
                let reached = only(&[(Error(family, Rx), COUNT), (Reached(family), COUNT)]);
                sees(node, &daemon, ENDS, [reached, sent, none, none], || {
                    large(node, gateway, family)
                })?;
            }
            run(&format!("nft -f {}", node.file("t.nft", RULES)?.display()))?;
            for family in Family::BOTH {
                let _room = undisturbed()?;
                let before = fallbacks(&daemon.page()?, "r0", "oversize").unwrap_or(0);
                sees(node, &daemon, ENDS, [none; 4], || large(node, gateway, family))?;
                if datapath == "tc" {
                    node.eventually("the fast path left them to the stack", SOON, || {
                        let now = fallbacks(&daemon.page()?, "r0", "oversize")?;
                        Ok((now - before == COUNT).then_some(()))
                    })?;
                }
            }
            Ok(())
        });
    }
}

/// An error that passes a host on its way to a pod is none that reached the host, and where the host
/// drops it, it reached nobody.
#[test]
fn an_error_from_further_away_reaches_the_pod_and_not_the_host() {
    const MIDDLE: [End<'_>; 2] = [("host", "m0"), ("middle", "m1")];
    on_node(|node| {
        let daemon = pods(node, Shape::Routed, "observe")?;
        // Blue's addresses now lie behind another router, whose link to them is narrow.
        node.netns("middle")?;
        for line in [
            "ip link add m0 type veth peer name m1 netns middle",
            "ip addr add 172.16.0.1/24 dev m0",
            "ip link set m0 up",
            "ip -n middle addr add 172.16.0.2/24 dev m1",
            "ip -n middle link set m1 up",
            "ip -n middle route add default via 172.16.0.1",
            "ip -n middle link add n0 mtu 1400 type veth peer name n1 mtu 1400 netns blue",
            "ip -n middle link set n0 up",
            "ip -n blue link set n1 up",
            "ip -n middle route add 10.0.0.3/32 dev n0",
            "nsenter --net=/run/netns/middle sysctl -qw net.ipv4.ip_forward=1",
            "ip route replace 10.0.0.3/32 via 172.16.0.2 dev m0",
        ] {
            run(line)?;
        }
        limits(node, MIDDLE[0], 0, 1500)?;
        limits(node, MIDDLE[1], 0, 1500)?;
        node.acquaint([("host", "m0", "172.16.0.1"), ("middle", "m1", "172.16.0.2")])?;
        let ends = [ENDS[0], ENDS[1], MIDDLE[0], MIDDLE[1]];
        let gateway = mac("host", "r0")?;
        let _room = undisturbed()?;
        let (sent, passed) = (only(&[(Error(Ipv4, Tx), COUNT)]), only(&[(Error(Ipv4, Rx), COUNT)]));
        let reached = only(&[(Error(Ipv4, Rx), COUNT), (Reached(Ipv4), COUNT)]);
        sees(node, &daemon, ends, [reached, sent, passed, sent], || large(node, gateway, Ipv4))?;
        let rules = RULES.replace("hook output", "hook forward");
        run(&format!("nft -f {}", node.file("t.nft", &rules)?.display()))?;
        let none = only(&[]);
        sees(node, &daemon, ends, [none, none, passed, sent], || large(node, gateway, Ipv4))
    });
}

const PAIR: [End<'_>; 2] = [("orange", "tap1"), ("green", "tap2")];
const ORANGE: Side<'_> = Side { end: PAIR[0], address: "192.168.1.2", index: None };
const GREEN: Side<'_> = Side { end: PAIR[1], address: "192.168.1.3", index: None };

/// Sends errors from orange to green about packets from `source`.
fn errors_about(node: &Node, source: [u8; 4]) -> Result<()> {
    let (to, from) = (mac("green", "tap2")?, mac("orange", "tap1")?);
    let mut frame = udp_frame_of(14 + 56, to, from, [192, 168, 1, 2], [192, 168, 1, 3]);
    frame[23] = 1;
    let quoted = udp_frame_of(14 + 28, to, from, source, [192, 168, 1, 2]);
    frame[34..42].copy_from_slice(&[3, 4, 0, 0, 0, 0, 5, 120]);
    frame[42..].copy_from_slice(&quoted[14..]);
    node.within("orange", || {
        let socket = RawFrames::on("tap1", Qdisc::Pass)?;
        (0..COUNT).try_for_each(|_| socket.send(&frame))
    })
}

/// Waits until the programs know so many addresses.
fn known(node: &Node, wanted: usize) -> Result<()> {
    node.eventually("the programs know", SOON, || {
        let known = maps()?.addresses.keys().collect::<Result<Vec<_>, _>>()?;
        Ok((known.len() == wanted).then_some(()))
    })
}

#[test]
fn whose_an_address_is_follows_the_namespace() {
    on_node(|node| {
        quiet(node, &["orange", "green"])?;
        join(node, [&ORANGE, &GREEN])?;
        let daemon = Agent::start(node, "")?;
        known(node, 2)?;
        let _room = undisturbed()?;
        let sent = only(&[(Error(Ipv4, Tx), COUNT)]);
        let arrived = only(&[(Error(Ipv4, Rx), COUNT)]);
        let reached = only(&[(Error(Ipv4, Rx), COUNT), (Reached(Ipv4), COUNT)]);
        let about =
            |source, last| sees(node, &daemon, PAIR, [sent, last], || errors_about(node, source));
        about([192, 168, 1, 3], reached)?;
        // The sender's own, in another namespace.
        about([192, 168, 1, 2], arrived)?;
        about([10, 9, 8, 7], arrived)?;
        // Whichever interface has it.
        run("ip -n green addr add 10.9.8.7/32 dev lo")?;
        known(node, 3)?;
        about([10, 9, 8, 7], reached)?;
        run("ip -n green addr del 10.9.8.7/32 dev lo")?;
        known(node, 2)?;
        about([10, 9, 8, 7], arrived)?;
        run("ip netns del green")?;
        // Without an end, a namespace is none of ours.
        known(node, 0)
    });
}

#[test]
fn addresses_without_room_are_said() {
    on_node(|node| {
        quiet(node, &["orange", "green"])?;
        join(node, [&ORANGE, &GREEN])?;
        for last in 1..=9 {
            run(&format!("ip -n green addr add 10.9.8.{last}/32 dev lo"))?;
        }
        // Room for four addresses an end.
        let daemon = Agent::start(node, "--max-ends 2")?;
        known(node, 8)?;
        let said = "no room for 3 addresses of namespaces";
        node.eventually("it is said", SOON, || Ok(daemon.said().contains(said).then_some(())))?;
        let entries = |name| daemon.page()?.value(name, &[("map", "va_addresses")]);
        ensure!((entries("veth_agent_map_entries")? - 8.0).abs() < 0.5);
        ensure!((entries("veth_agent_map_capacity")? - 8.0).abs() < 0.5);
        run("ip -n green addr flush dev lo")?;
        known(node, 2)?;
        ensure!(daemon.said().matches("no room").count() == 1, "{}", daemon.said());
        Ok(())
    });
}
