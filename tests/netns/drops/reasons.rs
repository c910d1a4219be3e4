//! Each way to lose packets: as many as were sent are counted, under their reason, at the end that knows.

use std::net::UdpSocket;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use veth_tests::{Agent, run, undisturbed};

use super::{
    BLUE, BLUE_ADDRESS, RED, SOON, drops, lose, nft, nft_drop, pair, receive, send, with_reasons,
};

/// It came as far as the receiver's stack.
#[test]
fn to_a_closed_port_is_lost_at_the_receiver() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 50, 100)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("no_socket", 50)])])
    });
}

#[test]
fn what_a_firewall_drops_on_its_way_in_is_lost_at_the_receiver() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        nft(node, "blue", &nft_drop("input", 9))?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 50, 100)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("netfilter_drop", 50)])])
    });
}

/// It has no device yet: the one that its route leads to would have sent it.
#[test]
fn what_a_firewall_drops_on_its_way_out_is_lost_at_the_sender() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        nft(node, "red", &nft_drop("output", 9))?;
        send(node, "red", "10.0.0.2:9", 50, 100)?;
        lose(node, &daemon, &[(RED, &[("netfilter_drop", 50)]), (BLUE, &[])])
    });
}

/// The host has received it from its end of the sender's cable, and not sent it into the other one.
#[test]
fn what_a_router_does_not_forward_is_lost_where_it_came_in() {
    with_reasons(|node| {
        for netns in ["red", "blue", "router"] {
            node.quiet_netns(netns)?;
        }
        run("nsenter --net=/run/netns/router sysctl -qw net.ipv4.ip_forward=1")?;
        for (pod, near, far, net) in [("red", "r0", "r1", 1), ("blue", "b0", "b1", 2)] {
            run(&format!("ip -n router link add {near} type veth peer name {far} netns {pod}"))?;
            run(&format!("ip -n router addr add 10.0.{net}.1/24 dev {near}"))?;
            run(&format!("ip -n {pod} addr add 10.0.{net}.2/24 dev {far}"))?;
            run(&format!("ip -n router link set {near} up"))?;
            run(&format!("ip -n {pod} link set {far} up"))?;
            run(&format!("ip -n {pod} route add default via 10.0.{net}.1"))?;
            crate::counts::carrier(node, (pod, far))?;
        }
        let daemon = Agent::start(node, "")?;
        nft(node, "router", &nft_drop("forward", 9))?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.2.2:9", 50, 100)?;
        let router = ("router", "r0");
        lose(
            node,
            &daemon,
            &[
                (RED, &[]),
                (router, &[("netfilter_drop", 50)]),
                (("router", "b0"), &[]),
                (BLUE, &[]),
            ],
        )
    });
}

/// Inside the pair, before it is handed over: the sender's device counts it as not sent.
#[test]
fn too_large_for_the_peer_is_lost_at_the_sender() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        run("ip -n blue link set b1 mtu 1400")?;
        send(node, "red", "10.0.0.2:9", 50, 1472)?;
        lose(node, &daemon, &[(RED, &[("veth_oversize", 50)]), (BLUE, &[])])
    });
}

#[test]
fn for_a_full_socket_is_lost_at_the_receiver() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let socket = node.within("blue", || Ok(UdpSocket::bind((BLUE_ADDRESS, 9))?))?;
        setsockopt(&socket, sockopt::RcvBuf, &4096)?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 200, 500)?;
        // All have arrived: the last of another port.
        send(node, "red", "10.0.0.2:10", 1, 1)?;
        node.eventually("the last one", SOON, || {
            Ok(drops(&daemon.page()?, BLUE).contains_key("no_socket").then_some(()))
        })?;
        socket.set_nonblocking(true)?;
        let mut buffer = [0; 512];
        let received = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).count() as u64;
        ensure!((1..200).contains(&received), "{received}");
        let lost = [("no_socket", 1), ("socket_rcvbuff", 200 - received)];
        lose(node, &daemon, &[(RED, &[]), (BLUE, &lost)])
    });
}

/// The sender has no carrier: its queueing discipline drops all (`noop_enqueue`).
#[test]
fn to_a_peer_that_is_down_is_lost_at_the_sender() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        run("ip -n blue link set b1 down")?;
        // Until the state follows the carrier, the device itself is asked.
        node.eventually("the carrier is gone", SOON, || {
            let shown = run("ip -n red -br link show dev r1")?.stdout;
            Ok((shown.split_whitespace().nth(1) != Some("UP")).then_some(()))
        })?;
        let shown = run("nsenter --net=/run/netns/red tc qdisc show dev r1")?.stdout;
        send(node, "red", "10.0.0.2:9", 50, 100)?;
        lose(node, &daemon, &[(RED, &[("qdisc_drop", 50)]), (BLUE, &[])]).context(shown)
    });
}

/// As the queueing discipline itself counts it.
#[test]
fn what_a_full_queue_takes_no_more_is_lost_at_the_sender() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let tc = |line: &str| run(&format!("nsenter --net=/run/netns/red tc {line}"));
        tc("qdisc add dev r1 root tbf rate 200kbit burst 2000 limit 5000")?;
        let socket = node.within("blue", || Ok(UdpSocket::bind((BLUE_ADDRESS, 9))?))?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 50, 1000)?;
        let shown: Value = serde_json::from_str(&tc("-s -j qdisc show dev r1")?.stdout)?;
        let dropped = shown[0]["drops"].as_u64().context("no drops")?;
        ensure!((1..50).contains(&dropped), "{shown}");
        ensure!(receive(&socket, 50 - dropped)? == 50 - dropped, "of {dropped}");
        // Newer kernels say which limit it was.
        let reasons = drops(&daemon.page()?, RED);
        let reason = reasons.keys().next().context("no drops")?;
        ensure!(reason.starts_with("qdisc_"), "{reasons:?}");
        lose(node, &daemon, &[(RED, &[(reason.as_str(), dropped)]), (BLUE, &[])])
    });
}

#[test]
fn no_neighbour_is_lost_at_the_sender() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        send(node, "red", "10.0.0.77:9", 1, 100)?;
        lose(node, &daemon, &[(RED, &[("neigh_failed", 1)]), (BLUE, &[])])
    });
}

#[test]
fn to_a_closed_tcp_port_is_lost_at_the_receiver() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let _room = undisturbed()?;
        node.within("red", || {
            (0..20).for_each(|_| _ = std::net::TcpStream::connect((BLUE_ADDRESS, 9)));
            Ok(())
        })?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("no_socket", 20)])])
    });
}

/// What is lost in a namespace without an end, and what an end is not told of, is nobody's.
#[test]
fn what_belongs_to_no_end_is_counted_as_nobodys() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let nobodys = || -> Result<u64> {
            let page = daemon.page()?;
            let reason = [("reason", "no_socket")];
            let found = page.value("veth_agent_drops_unattributed_total", &reason);
            Ok(found.unwrap_or_default() as u64)
        };
        let before = nobodys()?;
        send(node, "red", "127.0.0.1:9", 50, 100)?;
        node.eventually("nobody's", SOON, || Ok((nobodys()? >= before + 50).then_some(())))?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[])])
    });
}
