//! `status`: what is attached, in which place, and what a packet costs.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use veth_agent::preflight::{Feature, release};
use veth_tests::{
    Agent, Foreign, Node, StatusHook, agent, expected, lacks, link_stats, on_node, run,
    status_document, status_hooks,
};

fn pair(node: &Node) -> Result<()> {
    node.quiet_netns("orange")?;
    node.quiet_netns("green")?;
    run("ip -n orange link add tap1 type veth peer name tap2 netns green")?;
    run("ip -n orange addr add 10.0.0.1/24 dev tap1")?;
    run("ip -n green addr add 10.0.0.2/24 dev tap2")?;
    run("ip -n orange link set tap1 up")?;
    run("ip -n green link set tap2 up")?;
    Ok(())
}

/// Place and number on a hook of `green/tap2`.
fn place(hook: &str) -> Result<(u64, u64)> {
    let hooks = status_hooks()?;
    let found = hooks.iter().find(|found| found.netns == "green" && found.hook == hook);
    let StatusHook { position, of, .. } = found.context("nothing is attached")?;
    Ok((*position, *of))
}

fn table() -> Result<String> {
    let output = agent("status")?;
    ensure!(output.code == 0, "{}", output.stderr);
    Ok(output.stdout)
}

#[test]
fn the_place_among_others_is_shown_and_what_it_hides_with_tcx() {
    if lacks(Feature::Tcx) {
        return;
    }
    on_node(|node| {
        pair(node)?;
        let _daemon = Agent::start(node, "--attach tcx")?;
        assert_eq!((place("ingress")?, place("egress")?), ((1, 1), (1, 1)));
        ensure!(!table()?.contains("ahead"), "{}", table()?);
        Foreign::load("first")?.attach(node, "green", "tap2", true)?;
        assert_eq!(
            (place("ingress")?, place("egress")?),
            ((1, 1), (1, 1)),
            "it went with its link"
        );
        let mut first = Foreign::load("second")?;
        first.attach(node, "green", "tap2", true)?;
        assert_eq!((place("ingress")?, place("egress")?), ((2, 2), (2, 2)));
        let table = table()?;
        let blind: Vec<_> = table.lines().filter(|line| line.contains("ahead of ours")).collect();
        ensure!(blind.len() == 2 && blind[0].starts_with("green/tap2 ingress: 1 "), "{table}");
        Ok(())
    });
}

/// A filter that classifies is ahead: it ends the chain, and what it takes is not counted.
#[test]
fn a_filter_ahead_blinds_ours_and_status_says_so() {
    on_node(|node| {
        pair(node)?;
        let tc = |line: &str| run(&format!("nsenter --net=/run/netns/green tc {line}"));
        tc("qdisc add dev tap2 clsact")?;
        tc(
            "filter add dev tap2 ingress pref 1 protocol ip u32 match ip protocol 1 0xff flowid 1:1",
        )?;
        let daemon = Agent::start(node, "--attach clsact")?;
        let others = place("ingress")?.0 - 1;
        // A u32 filter shows as its tables and its rule.
        ensure!(others >= 1, "{:?}", place("ingress"));
        assert_eq!(place("egress")?, (1, 1));
        let table = table()?;
        let blind: Vec<_> = table.lines().filter(|line| line.contains("ahead of ours")).collect();
        ensure!(blind.len() == 1 && blind[0].starts_with("green/tap2 ingress: "), "{table}");

        let before = link_stats("green", "tap2")?;
        run("nsenter --net=/run/netns/orange ping -q -c 10 -i 0.01 10.0.0.2")?;
        let passed = link_stats("green", "tap2")?.since(before);
        let page = daemon.page()?;
        let count = |way| page.count("veth_agent_packets_total", "green", "tap2", way);
        ensure!(passed.rx_packets >= 10, "{passed:?}");
        ensure!(count("rx")? <= passed.rx_packets - 10, "the filter took nothing: {passed:?}");
        ensure!(count("tx")? >= 10, "egress is not blind: {passed:?}");
        Ok(())
    });
}

#[test]
fn tcx_programs_run_ahead_of_filters() {
    if lacks(Feature::Tcx) {
        return;
    }
    on_node(|node| {
        pair(node)?;
        let _daemon = Agent::start(node, "--attach clsact")?;
        assert_eq!(place("ingress")?, (1, 1));
        let mut other = Foreign::load("other")?;
        other.attach(node, "green", "tap2", false)?;
        assert_eq!((place("ingress")?, place("egress")?), ((2, 2), (2, 2)));
        Ok(())
    });
}

#[test]
fn the_document_says_what_the_node_is_like() {
    on_node(|node| {
        pair(node)?;
        let document = status_document("")?;
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["kernel"], release());
        assert_eq!(document["daemon"], false);
        let by = if expected(Feature::Tcx) { "tcx" } else { "clsact" };
        assert_eq!(document["attach"], by);
        let hooks = document["ends"].as_array().context("no ends")?;
        ensure!(hooks.len() == 2 && hooks.iter().all(|end| end["hooks"]["ingress"].is_null()));
        let features = document["features"].as_array().context("no features")?;
        assert_eq!(features.len(), Feature::ALL.len());
        for (shown, feature) in features.iter().zip(Feature::ALL) {
            let facts = feature.facts();
            assert_eq!(shown["name"], facts.name);
            assert_eq!(shown["since"], facts.since.to_string());
            let state = if expected(feature) { "present" } else { "absent" };
            assert_eq!(shown["state"], state, "{}", facts.name);
        }
        let _daemon = Agent::start(node, "")?;
        let document = status_document("")?;
        assert_eq!(document["daemon"], true);
        assert_eq!(status_hooks()?.len(), 4);
        ensure!(status_hooks()?.iter().all(|hook| hook.method == by));
        Ok(())
    });
}

/// Nanoseconds a packet of every hook.
fn costs(document: &Value) -> Vec<Option<u64>> {
    let ends = document["ends"].as_array().into_iter().flatten();
    let hooks = ends.flat_map(|end| ["ingress", "egress"].map(|hook| &end["hooks"][hook]));
    hooks.map(|hook| hook["ns_per_packet"].as_u64()).collect()
}

#[test]
fn the_cost_of_a_packet_is_measured_while_packets_pass() {
    on_node(|node| {
        pair(node)?;
        let _daemon = Agent::start(node, "")?;
        let idle = costs(&status_document("--measure 10ms")?);
        assert_eq!(idle, [None; 4], "nothing has passed");
        let _pings = veth_tests::Background::start(
            "nsenter --net=/run/netns/orange ping -q -i 0.01 -w 60 10.0.0.2",
        )?;
        let busy = costs(&status_document("--measure 2s")?);
        ensure!(
            busy.len() == 4 && busy.iter().all(|cost| cost.is_some_and(|cost| cost > 0)),
            "{busy:?}"
        );
        Ok(())
    });
}

#[test]
fn a_mechanism_that_the_kernel_has_not_got_is_refused_with_its_version() {
    on_node(|node| {
        pair(node)?;
        let file = node
            .file("p.yaml", "pairs: [{ name: p, ends: [{ interface: p0 }, { interface: p1 }] }]")?;
        let apply = format!("apply --attach tcx -f {}", file.display());
        if expected(Feature::Tcx) {
            assert_eq!(agent(&apply)?.code, 0);
            return Ok(());
        }
        for command in ["run --attach tcx --listen 127.0.0.1:0", &apply] {
            let output = agent(command)?;
            assert_eq!(output.code, 1, "{command}");
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            for part in ["has no TCX", "Linux 6.6", "--attach clsact", &release()] {
                ensure!(output.stderr.contains(part), "{part}: {}", output.stderr);
            }
        }
        ensure!(!run("ip link show")?.stdout.contains("p0"), "something was made");
        Ok(())
    });
}
