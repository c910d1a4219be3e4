//! Sizes on the page: the graph, before any packet has been lost, and as it changes.

use std::time::Duration;

use anyhow::{Result, ensure};
use veth_tests::{Agent, Node, agent, on_node, run};

/// How long it may take on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(20);

/// The kinds of mismatch that an end has.
fn mismatches(daemon: &Agent, netns: &str, interface: &str) -> Result<Vec<String>> {
    let page = daemon.page()?;
    let end = [("netns", netns), ("interface", interface)];
    let set = page.all("veth_agent_mtu_mismatch", &end).filter(|sample| sample.value > 0.5);
    let mut kinds: Vec<_> = set.map(|sample| sample.labels["kind"].clone()).collect();
    kinds.sort();
    Ok(kinds)
}

fn becomes(
    node: &Node,
    daemon: &Agent,
    (netns, interface): (&str, &str),
    wanted: &[&str],
) -> Result<()> {
    node.eventually(&format!("{netns}/{interface}: {wanted:?}"), SOON, || {
        Ok((mismatches(daemon, netns, interface)? == wanted).then_some(()))
    })
}

#[test]
fn mismatches_come_and_go_with_what_makes_them() {
    on_node(|node| {
        let file = node.file(
            "topology.yaml",
            "
namespaces: [{ name: red }, { name: blue }]
bridges: [{ name: br0, addresses: [10.0.0.1/24] }]
pairs:
  - name: red
    ends:
      - { interface: red0, bridge: br0 }
      - { namespace: red, interface: red1, addresses: [10.0.0.2/24], routes: [{ to: default, via: 10.0.0.1 }] }
  - name: blue
    ends:
      - { interface: blue0, bridge: br0 }
      - { namespace: blue, interface: blue1, addresses: [10.0.0.3/24] }
",
        )?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        let daemon = Agent::start(node, "")?;
        let ends = [("host", "red0"), ("red", "red1"), ("host", "blue0"), ("blue", "blue1")];
        for end in ends {
            becomes(node, &daemon, end, &[])?;
            let labels = [("netns", end.0), ("interface", end.1)];
            ensure!((daemon.page()?.value("veth_agent_mtu_bytes", &labels)? - 1500.0).abs() < 0.5);
        }

        // The far end of one pair shrinks: what comes to it over its cable is too large.
        run("ip -n blue link set blue1 mtu 1400")?;
        becomes(node, &daemon, ("host", "blue0"), &["peer"])?;
        run("ip link set blue0 mtu 1400")?;
        // Now the pair is one, and what comes in by the other port is too large for it.
        becomes(node, &daemon, ("host", "blue0"), &[])?;
        becomes(node, &daemon, ("host", "red0"), &["bridge"])?;
        run("ip link set blue0 mtu 1500")?;
        run("ip -n blue link set blue1 mtu 1500")?;

        // Routes are heard of, too: in the host, and in a pod.
        node.quiet_netns("world")?;
        run("ip link add up0 type veth peer name w0 netns world")?;
        run("ip link set up0 mtu 1400 up")?;
        run("ip -n world link set w0 mtu 1400 up")?;
        run("ip addr add 10.9.0.1/24 dev up0")?;
        becomes(node, &daemon, ("red", "red1"), &[])?;
        run("ip route add default via 10.9.0.2 dev up0")?;
        becomes(node, &daemon, ("red", "red1"), &["uplink"])?;
        run("ip -n red route replace default via 10.0.0.1 mtu 1400")?;
        becomes(node, &daemon, ("red", "red1"), &[])?;

        // So are tunnels: this one leaves 1,350 bytes, and then its routes go.
        run("ip link add tun7 type vxlan id 7 dstport 4789 remote 10.9.0.2 dev up0")?;
        run("ip link set tun7 mtu 1350 up")?;
        run("ip route add 10.8.0.0/16 dev tun7")?;
        becomes(node, &daemon, ("red", "red1"), &["uplink"])?;
        run("ip link del tun7")?;
        becomes(node, &daemon, ("red", "red1"), &[])?;

        run("ip -n red route add 10.7.0.0/16 via 10.0.0.1 mtu 9000")?;
        becomes(node, &daemon, ("red", "red1"), &["route"])?;
        run("ip -n red route del 10.7.0.0/16")?;
        for end in ends {
            becomes(node, &daemon, end, &[])?;
        }
        Ok(())
    });
}
