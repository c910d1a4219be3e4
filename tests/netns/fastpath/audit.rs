//! What redirecting would skip is named, and keeps a pair off the fast path.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use veth_agent::preflight::Feature;
use veth_tests::{
    Foreign, Node, XdpPass, agent, built_with, lacks, on_node, run, shell, status_document, try_run,
};

use super::{BRIDGED, SOON, Shape, fast, pods, redirected};

/// State and reasons of a pair.
fn verdict(pair: &str) -> Result<(String, String)> {
    let document = status_document("")?;
    let pairs = document["fast_path"]["pairs"].as_array().context("no verdicts")?;
    let found = pairs.iter().find(|found| found["pair"] == pair).context("no such pair")?;
    let reasons = found["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let state = found["state"].as_str().context("no state")?.to_owned();
    Ok((state, reasons.collect::<Vec<_>>().join("; ")))
}

#[track_caller]
fn refused(pair: &str, reason: &str) -> Result<()> {
    let (state, reasons) = verdict(pair)?;
    ensure!(state == "refused" && reasons.contains(reason), "{state}: {reasons}");
    Ok(())
}

#[track_caller]
fn active(pair: &str) -> Result<()> {
    let found = verdict(pair)?;
    ensure!(found == ("active".to_owned(), String::new()), "{found:?}");
    Ok(())
}

/// What is made, what is said of it, and how it is taken away.
fn each_is_named(obstacles: &[(&str, &str, &str)]) -> Result<()> {
    for (make, reason, unmake) in obstacles {
        active("blue")?;
        let made = shell(make)?;
        ensure!(made.code == 0, "{make}: {}", made.stderr);
        refused("blue", reason).with_context(|| (*make).to_owned())?;
        let unmade = shell(unmake)?;
        ensure!(unmade.code == 0, "{unmake}: {}", unmade.stderr);
    }
    active("blue")
}

#[test]
fn what_stands_on_a_bridge_is_named() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        each_is_named(&[
            (
                "nft 'add table bridge t; add chain bridge t c { type filter hook prerouting priority 0; policy drop; }'",
                "nft bridge t c: policy drop",
                "nft delete table bridge t",
            ),
            (
                "nft 'add table netdev t; add chain netdev t c { type filter hook ingress device b0 priority 0; }; add rule netdev t c counter'",
                "nft netdev t c: rule handle",
                "nft delete table netdev t",
            ),
            (
                "ip link set b0 type bridge_slave isolated on",
                "bridge port b0 is isolated",
                "ip link set b0 type bridge_slave isolated off",
            ),
            (
                "tc qdisc add dev b0 root tbf rate 1gbit burst 32kbit latency 50ms",
                "qdisc tbf on b0",
                "tc qdisc del dev b0 root",
            ),
            (
                "tc qdisc add dev b0 clsact 2>&1 || true; tc filter add dev b0 egress pref 7 protocol all u32 match u32 0 0 flowid 1:1",
                "filter at priority 7 on b0 egress",
                "tc filter del dev b0 egress pref 7",
            ),
        ])?;
        if built_with("CONFIG_BRIDGE_VLAN_FILTERING") {
            each_is_named(&[(
                "ip link set br0 type bridge vlan_filtering 1",
                "bridge br0 filters VLANs",
                "ip link set br0 type bridge vlan_filtering 0",
            )])?;
        }
        // What stands on the routed path is none of a bridge's business.
        run("ip rule add from 10.9.9.9 lookup main priority 99")?;
        active("blue")
    });
}

#[test]
fn what_stands_on_a_route_is_named() {
    on_node(|node| {
        let daemon = pods(node, Shape::Routed)?;
        fast(node, &daemon)?;
        each_is_named(&[
            (
                "nft 'add table inet t; add chain inet t c { type filter hook postrouting priority 0; }; add rule inet t c counter'",
                "nft inet t c: rule handle",
                "nft delete table inet t",
            ),
            (
                "nft 'add table ip t; add chain ip t c { type nat hook prerouting priority 0; }; add rule ip t c dnat to 10.0.0.9'",
                "nft ip t c: rule handle",
                "nft delete table ip t",
            ),
            (
                "ip rule add from 10.9.9.9 lookup 100 priority 99",
                "ip rule 99 (table 100)",
                "ip rule del priority 99",
            ),
        ])?;
        // Chains of the host's own traffic are none of the pods' business.
        run("nft add table ip own")?;
        shell("nft 'add chain ip own in { type filter hook input priority 0; policy drop; }'")?;
        active("blue")?;
        run("nft delete table ip own")?;
        // Not forwarded at all, no family goes by the fast path.
        run("sysctl -qw net.ipv4.conf.b0.forwarding=0")?;
        node.eventually("IPv4 is not redirected", SOON, || {
            let before = redirected(&daemon.page()?, "b0")?;
            let _ = try_run("nsenter --net=/run/netns/red ping -q -c 2 -W 1 -i 0.01 10.0.0.3")?;
            Ok((redirected(&daemon.page()?, "b0")? == before).then_some(()))
        })
    });
}

#[test]
fn programs_of_others_are_named() {
    if lacks(Feature::Tcx) {
        return;
    }
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        let mut other = Foreign::load("other")?;
        other.attach_here("b0", false)?;
        refused("blue", "behind ours on b0 ingress")?;
        refused("blue", "on b0 egress")?;
        active("red")?;
        drop(other);
        let xdp = node.within("blue", || XdpPass::attach("b1"))?;
        refused("blue", "on the far end b1")?;
        drop(xdp);
        Ok(())
    });
}

#[test]
fn force_overrides_and_says_what_it_skips() {
    on_node(|node| {
        run("nft add table bridge t")?;
        shell("nft 'add chain bridge t c { type filter hook forward priority 0; policy drop; }'")?;
        let daemon = pods(node, Shape::Bridged)?;
        refused("blue", "nft bridge t c: policy drop")?;
        let file = node.file(
            "forced.yaml",
            &BRIDGED.replace("datapath: tc", "datapath: tc\n    force: true"),
        )?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        // ARP passes the bridge, where the rule drops it.
        node.acquaint([("red", "r1", "10.0.0.2"), ("blue", "b1", "10.0.0.3")])?;
        fast(node, &daemon)?;
        let (state, reasons) = verdict("blue")?;
        ensure!(state == "active" && reasons.contains("nft bridge t c"), "{state}: {reasons}");
        ensure!(daemon.said().contains("active by force"), "{}", daemon.said());
        Ok(())
    });
}

/// The kernel would free the packet.
#[test]
fn a_pair_within_one_namespace_is_never_redirected_to() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        let file = node.file(
            "own.yaml",
            "pairs: [{ name: own, datapath: tc, ends: [{ interface: o0 }, { interface: o1, addresses: [10.0.0.9/24] }] }]",
        )?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        let (state, reasons) = verdict("own")?;
        ensure!(state == "idle" && reasons.contains("one namespace"), "{state}: {reasons}");
        fast(node, &daemon)
    });
}

/// A rule that would be skipped takes the pairs off the fast path, is named, and gives it back.
fn a_rule_is_obeyed(node: &Node, shape: Shape, family: &str) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    shell(&format!(
        "nft add table {family} t; nft add chain {family} t f '{{ type filter hook forward priority 0; }}'
         nft add rule {family} t f drop"
    ))
    .and_then(|made| {
        ensure!(made.code == 0, "{}", made.stderr);
        Ok(())
    })?;
    let silent = || try_run("nsenter --net=/run/netns/red ping -q -c 1 -W 1 10.0.0.3");
    node.eventually("the rule is obeyed", Duration::from_secs(5), || {
        Ok((silent()?.code == 1).then_some(()))
    })?;
    let named = format!("nft {family} t f: rule handle");
    node.eventually("it is named", SOON, || Ok(daemon.said().contains(&named).then_some(())))?;
    run(&format!("nft delete table {family} t"))?;
    fast(node, &daemon)
}

#[test]
fn a_rule_on_the_bridge_is_obeyed_within_seconds() {
    on_node(|node| a_rule_is_obeyed(node, Shape::Bridged, "bridge"));
}

#[test]
fn a_rule_on_the_route_is_obeyed_within_seconds() {
    on_node(|node| a_rule_is_obeyed(node, Shape::Routed, "ip"));
}

/// Nobody tells that a legacy table has changed.
#[test]
fn a_rule_of_legacy_iptables_is_obeyed_within_seconds() {
    on_node(|node| {
        let daemon = pods(node, Shape::Routed)?;
        fast(node, &daemon)?;
        run("iptables-legacy -A FORWARD -p icmp -j DROP")?;
        let silent = || try_run("nsenter --net=/run/netns/red ping -q -c 1 -W 1 10.0.0.3");
        node.eventually("the rule is obeyed", Duration::from_secs(5), || {
            Ok((silent()?.code == 1).then_some(()))
        })?;
        refused("red", "iptables table filter: -A FORWARD -p icmp -j DROP")?;
        run("iptables-legacy -F FORWARD")?;
        fast(node, &daemon)
    });
}

/// A rate limit that redirected packets would not meet holds them within seconds.
#[test]
fn a_rate_limit_is_obeyed_within_seconds() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        // A packet of a second's worth waits for about so long.
        run("tc qdisc add dev b0 root tbf rate 12kbit burst 1600 latency 10s")?;
        node.eventually("packets wait", Duration::from_secs(5), || {
            let ping = "nsenter --net=/run/netns/red ping -q -c 1 -s 1400 -W 2 10.0.0.3";
            let answer = try_run(ping)?;
            let times = answer
                .stdout
                .split("mdev = ")
                .nth(1)
                .and_then(|times| times.split('/').nth(1)?.parse::<f64>().ok());
            Ok(times.is_none_or(|milliseconds| milliseconds > 300.0).then_some(()))
        })?;
        refused("blue", "qdisc tbf on b0")?;
        run("tc qdisc del dev b0 root")?;
        fast(node, &daemon)
    });
}

#[test]
fn status_tells_each_pairs_verdict() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        let verdicts = || -> Result<Vec<(String, String)>> {
            let document = status_document("")?;
            let pairs = document["fast_path"]["pairs"].as_array().context("no verdicts")?.clone();
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Ok(pairs.iter().map(|pair| (word(&pair["pair"]), word(&pair["state"]))).collect())
        };
        let all = |state: &str| ["blue", "red"].map(|pair| (pair.to_owned(), state.to_owned()));
        assert_eq!(verdicts()?, all("active"));
        run("tc qdisc add dev b0 root tbf rate 1gbit burst 32kbit latency 50ms")?;
        let [blue, red] = [verdicts()?[0].1.clone(), verdicts()?[1].1.clone()];
        assert_eq!((blue.as_str(), red.as_str()), ("refused", "active"));
        let table = agent("status")?.stdout;
        ensure!(table.contains("qdisc tbf on b0"), "{table}");
        run("tc qdisc del dev b0 root")?;
        daemon.kill()?;
        let document = status_document("")?;
        ensure!(document["fast_path"]["lease_seconds"].as_u64().is_some_and(|left| left <= 60));
        Ok(())
    });
}
