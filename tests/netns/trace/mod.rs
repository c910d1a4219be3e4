//! `veth-agent trace`.

mod commands;
mod ends;
mod fate;
mod filters;
mod follow;
mod leave;
mod losses;
mod mix;
mod outputs;
mod pcap;
mod same;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use veth_tests::{Node, run, shell};

/// One cable between two namespaces in which nothing moves by itself.
pub fn cable(node: &Node) -> Result<()> {
    for netns in ["red", "blue"] {
        node.quiet_netns(netns)?;
    }
    run("ip -n red link add r1 type veth peer name b1 netns blue")?;
    for (netns, interface, address) in [("red", "r1", "10.0.0.1"), ("blue", "b1", "10.0.0.2")] {
        run(&format!("ip -n {netns} addr add {address}/24 dev {interface}"))?;
        run(&format!("ip -n {netns} link set {interface} up"))?;
    }
    node.acquaint([("red", "r1", "10.0.0.1"), ("blue", "b1", "10.0.0.2")])?;
    for end in [("red", "r1"), ("blue", "b1")] {
        crate::counts::carrier(node, end)?;
    }
    Ok(())
}

/// Sends so many packets of UDP from red to a port of blue.
pub fn send(node: &Node, port: u16, packets: usize, bytes: usize) -> Result<()> {
    node.within("red", || {
        // Not connected: a packet is not refused for the answer to an earlier one.
        let socket = sender(node)?;
        let payload = vec![7; bytes];
        (0..packets).try_for_each(|_| {
            socket.send_to(&payload, ("10.0.0.2", port))?;
            Ok(())
        })
    })
}

/// Always from the same port. A process that a test beside this one just starts may hold an earlier socket still.
fn sender(node: &Node) -> Result<UdpSocket> {
    node.eventually("the port is free", Duration::from_secs(20), || {
        match UdpSocket::bind("10.0.0.1:7000") {
            Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
            bound => Ok(Some(bound?)),
        }
    })
}

/// Sends so many packets from blue to a group that it has joined itself, and as many to all; hears of each.
pub fn send_to_all(node: &Node, packets: usize) -> Result<()> {
    run("ip -n blue route replace 239.0.0.0/8 dev b1")?;
    node.within("blue", || {
        let socket = UdpSocket::bind("0.0.0.0:7001")?;
        let (group, own) = (Ipv4Addr::new(239, 1, 2, 3), Ipv4Addr::new(10, 0, 0, 2));
        socket.join_multicast_v4(&group, &own)?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(veth_tests::patient(Duration::from_secs(5))))?;
        for _ in 0..packets {
            for to in ["239.1.2.3:7001", "10.0.0.255:7001"] {
                socket.send_to(&[1; 30], to)?;
                let heard = socket.recv(&mut [0; 100])?;
                ensure!(heard == 30, "{heard} bytes");
            }
        }
        Ok(())
    })
}

/// A socket of blue that has room for a few packets and is never read.
pub fn soon_full(node: &Node, port: u16) -> Result<UdpSocket> {
    node.within("blue", || {
        let socket = UdpSocket::bind(("10.0.0.2", port))?;
        setsockopt(&socket, sockopt::RcvBuf, &1)?;
        Ok(socket)
    })
}

/// `NETNS/INTERFACE WORD` of each line: the direction, or what became of the packet.
pub fn places(lines: &[Value]) -> Vec<String> {
    let word = |line: &Value| match (line["direction"].as_str(), line["reason"].as_str()) {
        (Some(direction), _) => direction.to_owned(),
        (None, reason) => reason.unwrap_or("?").to_owned(),
    };
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or("?").to_owned();
    lines
        .iter()
        .map(|it| format!("{}/{} {}", text(it, "netns"), text(it, "interface"), word(it)))
        .collect()
}

/// Nothing of a trace is on these ends any more.
pub fn nothing_left() -> Result<()> {
    for (netns, end) in [("red", "r1"), ("blue", "b1")] {
        let at = format!("nsenter --net=/run/netns/{netns}");
        let filters = shell(&format!(
            "{at} tc filter show dev {end} ingress; {at} tc filter show dev {end} egress; {at} tc qdisc show dev {end} clsact"
        ))?;
        ensure!(filters.stdout.trim().is_empty(), "{filters:?}");
    }
    let pins = shell("ls /sys/fs/bpf/veth-agent/v3 | grep trace- || true")?;
    ensure!(pins.stdout.is_empty(), "{pins:?}");
    Ok(())
}
