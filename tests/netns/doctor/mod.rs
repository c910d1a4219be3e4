//! `doctor`: each fault is built, found alone, mended by what the finding says, and gone.

mod addresses;
mod answers;
mod blame;
mod cables;
mod health;
mod hosts;
mod lans;
mod mtu;
mod ports;
mod quiet;
mod routes;
mod segments;
mod ways;

use std::time::Duration;

use anyhow::{Result, ensure};
use veth_tests::{Node, agent, run, try_run};

/// Two namespaces, one cable.
pub fn direct(node: &Node) -> Result<()> {
    apply(
        node,
        "
namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
",
    )
}

/// Two pods on a bridge whose address is their gateway.
pub fn bridged(node: &Node) -> Result<()> {
    let mut topology = String::from(
        "
namespaces: [{ name: red }, { name: blue }]
bridges: [{ name: br0, addresses: [10.0.0.1/24] }]
pairs:
",
    );
    for (name, host) in [("red", 2), ("blue", 3)] {
        topology += &format!(
            "  - name: {name}
    ends:
      - {{ interface: {name}0, bridge: br0 }}
      - namespace: {name}
        interface: {name}1
        addresses: [10.0.0.{host}/24]
        routes: [{{ to: default, via: 10.0.0.1 }}]
"
        );
    }
    apply(node, &topology)
}

/// Two pods that the host routes between.
pub fn routed(node: &Node) -> Result<()> {
    let mut topology = String::from("namespaces: [{ name: red }, { name: blue }]\npairs:\n");
    for (name, host) in [("red", 2), ("blue", 3)] {
        topology += &format!(
            "  - name: {name}
    ends:
      - {{ interface: {name}0, addresses: [10.1.{host}.1/24] }}
      - namespace: {name}
        interface: {name}1
        addresses: [10.1.{host}.2/24]
        routes: [{{ to: default, via: 10.1.{host}.1 }}]
"
        );
    }
    apply(node, &topology)?;
    run("sysctl -qw net.ipv4.ip_forward=1")?;
    Ok(())
}

pub fn apply(node: &Node, topology: &str) -> Result<()> {
    let file = node.file("topology.yaml", topology)?;
    let output = agent(&format!("apply -f {}", file.display()))?;
    ensure!(output.code == 0, "{output:?}");
    Ok(())
}

/// Whether a ping of so many bytes of payload, which nobody may fragment, is answered.
pub fn answers(netns: &str, address: &str, size: u32) -> Result<bool> {
    let line = format!("ping -q -c 1 -W 1 -M do -s {size} {address}");
    Ok(try_run(&format!("nsenter --net=/run/netns/{netns} {line}"))?.code == 0)
}

/// It is answered, if not at once, then soon.
pub fn answers_soon(node: &Node, netns: &str, address: &str, size: u32) -> Result<()> {
    node.eventually(&format!("{netns} reaches {address}"), Duration::from_secs(20), || {
        Ok(answers(netns, address, size)?.then_some(()))
    })
}

/// A way out of the host: a cable to the world, and a default route over it.
pub fn uplink(node: &Node, mtu: u32) -> Result<()> {
    node.quiet_netns("world")?;
    run("ip link add up0 type veth peer name w0 netns world")?;
    run(&format!("ip link set up0 mtu {mtu} up"))?;
    run(&format!("ip -n world link set w0 mtu {mtu} up"))?;
    run("ip addr add 10.9.0.1/24 dev up0")?;
    run("ip -n world addr add 10.9.0.2/24 dev w0")?;
    run("ip route add default via 10.9.0.2 dev up0")?;
    Ok(())
}
