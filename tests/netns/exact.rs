//! Counters are exact: equal to the kernel's own, to the last packet.

use anyhow::{Result, ensure};
use veth_tests::{
    Agent, LinkStats, Node, Page, agent, link_stats, on_node, run, tcp_bulk, udp_both_ways,
};

const ENDS: [(&str, &str); 2] = [("orange", "tap1"), ("green", "tap2")];
const SITES: [(&str, &str); 2] = [("orange", "192.168.1.2"), ("green", "192.168.1.3")];

const TOPOLOGY: &str = "
namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
";

/// What the agent counted on an end, in the kernel's terms.
fn counted(page: &Page, (netns, interface): (&str, &str)) -> Result<LinkStats> {
    let packets = |way| page.count("veth_agent_packets_total", netns, interface, way);
    let bytes = |way| page.count("veth_agent_bytes_total", netns, interface, way);
    Ok(LinkStats {
        rx_packets: packets("rx")?,
        rx_bytes: bytes("rx")?,
        tx_packets: packets("tx")?,
        tx_bytes: bytes("tx")?,
        tx_dropped: 0,
    })
}

/// Both ends as the kernel and as the agent count them, at a moment when nothing moves.
fn at_rest(node: &Node, daemon: &Agent) -> Result<[(LinkStats, LinkStats); 2]> {
    let kernel = || -> Result<[LinkStats; 2]> {
        Ok([link_stats(ENDS[0].0, ENDS[0].1)?, link_stats(ENDS[1].0, ENDS[1].1)?])
    };
    node.eventually("the traffic stops", std::time::Duration::from_secs(30), || {
        let before = kernel()?;
        let page = daemon.page()?;
        let [one, other] = ENDS;
        let agent = [counted(&page, one)?, counted(&page, other)?];
        let after = kernel()?;
        Ok((before == after).then_some([(after[0], agent[0]), (after[1], agent[1])]))
    })
}

/// More than a million packets of all kinds.
fn flood(node: &Node) -> Result<()> {
    run("nsenter --net=/run/netns/orange ping -q -f -c 20000 192.168.1.3")?;
    run("nsenter --net=/run/netns/green ping -q -f -s 1400 -c 20000 192.168.1.2")?;
    udp_both_ways(node, SITES, 500_000, 18)?;
    tcp_bulk(node, SITES[0], SITES[1], 2 << 30)
}

#[test]
fn a_million_packets_are_counted_to_the_last_on_ends_that_apply_made() {
    on_node(|node| {
        let file = node.file("demo.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        let daemon = Agent::start(node, "")?;
        flood(node)?;
        let ends = at_rest(node, &daemon)?;
        let total: u64 = ends.iter().map(|(kernel, _)| kernel.tx_packets).sum();
        ensure!(total >= 1_000_000, "only {total} packets were sent");
        for (kernel, counted) in ends {
            assert_eq!(LinkStats { tx_dropped: 0, ..kernel }, counted);
        }
        Ok(())
    });
}
