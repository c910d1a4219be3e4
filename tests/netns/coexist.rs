//! Other people's programs on the same hooks.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_tests::{Agent, Foreign, Node, agent, expected, lacks, link_stats, on_node, run};

/// The end that all are attached to.
const NETNS: &str = "green";
const INTERFACE: &str = "tap2";

/// A pair between `orange` and `green`, made by hand.
fn make_pair(node: &Node) -> Result<()> {
    node.quiet_netns("orange")?;
    node.quiet_netns("green")?;
    run("ip -n orange link add tap1 type veth peer name tap2 netns green")?;
    run("ip -n orange addr add 192.168.1.2/24 dev tap1")?;
    run("ip -n green addr add 192.168.1.3/24 dev tap2")?;
    run("ip -n orange link set tap1 up")?;
    run("ip -n green link set tap2 up")?;
    Ok(())
}

fn tc(line: &str) -> Result<String> {
    Ok(run(&format!("nsenter --net=/run/netns/{NETNS} tc {line}"))?.stdout)
}

/// What the end has carried, and what each of `foreign` has seen of it, when nothing moves.
fn at_rest(node: &Node, foreign: &[Foreign]) -> Result<(u64, Vec<u64>)> {
    let carried = || link_stats(NETNS, INTERFACE).map(|stats| stats.rx_packets + stats.tx_packets);
    node.eventually("the traffic stops", Duration::from_secs(20), || {
        let before = carried()?;
        let seen = foreign.iter().map(Foreign::packets).collect::<Result<_>>()?;
        Ok((before == carried()?).then_some((before, seen)))
    })
}

/// Sends packets, of which every one of `foreign` has to see every one.
fn all_see_all(node: &Node, foreign: &[Foreign], when: &str) -> Result<()> {
    let (carried, seen) = at_rest(node, foreign)?;
    run("nsenter --net=/run/netns/orange ping -q -f -c 500 192.168.1.3")?;
    let (carried_after, seen_after) = at_rest(node, foreign)?;
    let packets = carried_after - carried;
    ensure!(packets >= 1000, "{when}: only {packets} packets");
    let new: Vec<_> = seen_after.iter().zip(&seen).map(|(after, before)| after - before).collect();
    ensure!(new.iter().all(|new| *new == packets), "{when}: {new:?} of {packets} packets");
    Ok(())
}

fn counted(daemon: &Agent) -> Result<u64> {
    let page = daemon.page()?;
    let count = |way| page.count("veth_agent_packets_total", NETNS, INTERFACE, way);
    Ok(count("rx")? + count("tx")?)
}

/// The agent and all others see all.
fn we_see_all_too(node: &Node, daemon: &Agent, foreign: &[Foreign]) -> Result<()> {
    let (carried, _) = at_rest(node, foreign)?;
    let counted_before = counted(daemon)?;
    all_see_all(node, foreign, "with the agent")?;
    let (carried_after, _) = at_rest(node, foreign)?;
    let (ours, all) = (counted(daemon)? - counted_before, carried_after - carried);
    ensure!(ours == all, "the agent counted {ours} of {all}");
    Ok(())
}

/// Ids of the programs on both TCX hooks of the end, where the kernel has such hooks.
fn on_tcx(node: &Node) -> Result<BTreeSet<u32>> {
    if !expected(Feature::Tcx) {
        return Ok(BTreeSet::new());
    }
    node.within(NETNS, || {
        let mut ids = BTreeSet::new();
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, programs) = SchedClassifier::query_tcx(INTERFACE, hook)?;
            ids.extend(programs.iter().map(aya::programs::ProgramInfo::id));
        }
        Ok(ids)
    })
}

/// Programs of others: by TCX at both ends of the chain, and by filter.
fn others(node: &Node, when: &str) -> Result<Vec<Foreign>> {
    let mut others = Vec::new();
    if expected(Feature::Tcx) {
        for (first, name) in [(true, "first"), (false, "last")] {
            let mut other = Foreign::load(&format!("{when}_{name}"))?;
            other.attach(node, NETNS, INTERFACE, first)?;
            others.push(other);
        }
    }
    let filter = Foreign::load(&format!("{when}_filter"))?;
    filter.filter(NETNS, INTERFACE, "")?;
    others.push(filter);
    Ok(others)
}

/// Before and after ours, ahead of ours and behind it, through all that our agent does.
fn neighbours_stay(node: &Node, mode: &str) -> Result<()> {
    make_pair(node)?;
    tc("qdisc add dev tap2 clsact")?;
    let mut foreign = others(node, "before")?;
    let before = on_tcx(node)?;
    let daemon = Agent::start(node, mode)?;
    foreign.extend(others(node, "after")?);
    we_see_all_too(node, &daemon, &foreign)?;
    daemon.stop(node, Signal::SIGTERM)?;
    all_see_all(node, &foreign, "after the agent's exit")?;
    let detached = agent("detach green")?;
    ensure!(detached.code == 0, "{}", detached.stderr);
    all_see_all(node, &foreign, "after detach")?;
    Agent::start(node, mode)?.kill()?;
    all_see_all(node, &foreign, "after kill -9")?;
    let detached = agent("detach --all")?;
    ensure!(detached.code == 0, "{}", detached.stderr);
    all_see_all(node, &foreign, "after detach --all")?;
    let mut theirs: BTreeSet<_> = foreign.iter().map(Foreign::id).collect::<Result<_>>()?;
    ensure!(before.is_subset(&theirs));
    for hook in ["ingress", "egress"] {
        let filters = tc(&format!("filter show dev tap2 {hook}"))?;
        let own = foreign
            .iter()
            .filter(|other| other.id().is_ok_and(|id| filters.contains(&format!(" id {id} "))));
        ensure!(own.count() == 2 && filters.matches(" id ").count() == 2, "{hook}: {filters}");
    }
    let on_tcx = on_tcx(node)?;
    theirs.retain(|id| on_tcx.contains(id));
    ensure!(on_tcx == theirs, "{on_tcx:?} stayed, of which theirs: {theirs:?}");
    Ok(())
}

#[test]
fn neighbours_see_every_packet_and_stay_with_tcx() {
    on_node(|node| {
        if lacks(Feature::Tcx) {
            return Ok(());
        }
        neighbours_stay(node, "--attach tcx")
    });
}

#[test]
fn neighbours_see_every_packet_and_stay_with_clsact() {
    on_node(|node| neighbours_stay(node, "--attach clsact"));
}

#[test]
fn a_filter_that_has_priority_1_keeps_it_and_a_warning_says_so() {
    on_node(|node| {
        make_pair(node)?;
        tc("qdisc add dev tap2 clsact")?;
        let classify = "pref 1 protocol all u32 match u32 0 0 flowid 1:1";
        tc(&format!("filter add dev tap2 ingress {classify}"))?;
        let theirs = tc("filter show dev tap2 ingress")?;
        let daemon = Agent::start(node, "--attach clsact")?;
        let filters = tc("filter show dev tap2 ingress")?;
        ensure!(filters.starts_with(&theirs), "{filters}");
        ensure!(filters.contains("pref 2 bpf"), "{filters}");
        let egress = tc("filter show dev tap2 egress")?;
        ensure!(egress.contains("pref 1 bpf"), "{egress}");
        let said = daemon.said();
        let warnings: Vec<_> = said.lines().filter(|line| line.contains("priority")).collect();
        ensure!(warnings.len() == 1, "{said}");
        ensure!(warnings[0].contains("tap2") && warnings[0].contains("ingress"), "{said}");
        daemon.stop(node, Signal::SIGINT)?;
        ensure!(agent("detach --all")?.code == 0);
        let left = tc("filter show dev tap2 ingress")?;
        ensure!(left == theirs, "{left}");
        Ok(())
    });
}

#[test]
fn a_clsact_stays_where_it_was_before_us_or_somebody_uses_it() {
    on_node(|node| {
        node.quiet_netns(NETNS)?;
        node.quiet_netns("orange")?;
        for (name, peer) in [("theirs", "p1"), ("ours", "p2"), ("shared", "p3")] {
            run(&format!("ip -n {NETNS} link add {name} type veth peer name {peer} netns orange"))?;
        }
        tc("qdisc add dev theirs clsact")?;
        Agent::start(node, "--attach clsact")?.stop(node, Signal::SIGTERM)?;
        let qdiscs = tc("qdisc show")?;
        ensure!(qdiscs.matches("qdisc clsact").count() == 3, "{qdiscs}");
        let foreign = Foreign::load("foreign")?;
        foreign.filter(NETNS, "shared", "")?;
        ensure!(agent("detach --all")?.code == 0);
        let qdiscs = tc("qdisc show")?;
        ensure!(qdiscs.contains("clsact ffff: dev theirs"), "{qdiscs}");
        ensure!(!qdiscs.contains("clsact ffff: dev ours"), "{qdiscs}");
        ensure!(qdiscs.contains("clsact ffff: dev shared"), "{qdiscs}");
        let filters = tc("filter show dev shared ingress")?;
        ensure!(filters.contains(&format!(" id {} ", foreign.id()?)), "{filters}");
        ensure!(filters.matches(" id ").count() == 1, "{filters}");
        Ok(())
    });
}
