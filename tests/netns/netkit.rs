//! Pairs of the other kind, `netkit` (Linux 6.7).

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use veth_agent::preflight::Feature;
use veth_tests::{Agent, Node, agent, bearable, lacks, on_node, run, udp_both_ways};

use crate::counts::{End, assert_equal_but_for_drops, at_rest, attached, quiet};

const ENDS: [End<'_>; 2] = [("orange", "kit0"), ("green", "kit1")];
const SITES: [(&str, &str); 2] = [("orange", "10.0.0.1"), ("green", "10.0.0.2")];

/// A pair that is up. Older `ip`s know nothing of the kind but its name: the kernel names the peer.
fn pair(node: &Node) -> Result<()> {
    quiet(node, &["orange", "green"])?;
    run("ip -n orange link add kit0 type netkit")?;
    let made = run("ip -n orange -o link show type netkit")?.stdout;
    let peer = made.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
    let peer = peer.rev().find(|name: &&str| *name != "kit0").context("no peer")?.to_owned();
    run(&format!("ip -n orange link set {peer} netns green name kit1"))?;
    for ((netns, interface), (_, address)) in ENDS.into_iter().zip(SITES) {
        run(&format!("ip -n {netns} address add {address}/24 dev {interface}"))?;
        run(&format!("ip -n {netns} link set {interface} up"))?;
    }
    Ok(())
}

#[test]
fn a_netkit_pair_is_listed_attached_to_and_counted_to_the_last_packet() {
    if lacks(Feature::Netkit) {
        return;
    }
    on_node(|node| {
        pair(node)?;
        let daemon = Agent::start(node, "")?;
        for end in ENDS {
            assert_eq!(attached(node, end)?, "tcx");
        }
        let list: Value = serde_json::from_str(&agent("list -o json")?.stdout)?;
        let pairs = list["pairs"].as_array().context("no pairs")?;
        assert_eq!(pairs.len(), 1, "{list}");
        let ends = pairs[0]["ends"].as_array().context("no ends")?;
        ensure!(ends.len() == 2 && ends.iter().all(|end| end["kind"] == "netkit"), "{list}");
        ensure!(ends.iter().all(|end| end["carrier"] == true), "{list}");

        let before = at_rest(node, &daemon, ENDS)?;
        run("nsenter --net=/run/netns/orange ping -q -f -c 500 10.0.0.2")?;
        let pinged = at_rest(node, &daemon, ENDS)?;
        for (then, now) in before.into_iter().zip(pinged) {
            let new = now.since(then);
            assert_eq!((new.agent.rx.packets, new.agent.tx.packets), (500, 500), "{new:?}");
        }
        udp_both_ways(node, SITES, bearable(100_000), 18)?;
        let done = at_rest(node, &daemon, ENDS)?;
        for (then, now) in before.into_iter().zip(done) {
            let new = now.since(then);
            ensure!(new.agent.tx.packets >= bearable(100_000), "{new:?}");
            assert_equal_but_for_drops(&[new]);
        }
        Ok(())
    });
}
