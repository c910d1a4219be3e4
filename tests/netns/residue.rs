//! Nothing is left behind, and nothing else is taken away.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use anyhow::{Result, ensure};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};
use nix::sys::signal::Signal;
use serde_json::Value;
use veth_agent::preflight::Feature;
use veth_common::drops::DropProgram;
use veth_tests::{Agent, Node, PINS, agent, expected, lacks, listed, on_node, run};

const TOPOLOGY: &str = "
namespaces: [{ name: orange }, { name: green }]
bridges: [{ name: br0, addresses: [10.0.0.1/24] }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
  - name: port
    ends:
      - { interface: host0, bridge: br0 }
      - { namespace: old, interface: eth0, addresses: [10.0.0.2/24] }
";

/// Everything that an agent could leave: links, aliases, qdiscs, filters, TCX programs, namespaces,
/// and files on bpffs.
fn footprint(node: &Node) -> Result<String> {
    let mut print = run("find /sys/fs/bpf")?.stdout;
    let mut names = vec![String::new()];
    for entry in std::fs::read_dir("/run/netns")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for netns in names {
        let enter = match netns.as_str() {
            "" => String::new(),
            name => format!("nsenter --net=/run/netns/{name} "),
        };
        let links: Value = serde_json::from_str(&run(&format!("{enter}ip -j link"))?.stdout)?;
        for link in links.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().unwrap_or_default();
            writeln!(print, "{netns}/{name} {}", link["ifalias"])?;
            print += &run(&format!("{enter}tc qdisc show dev {name}"))?.stdout;
            for hook in ["ingress", "egress"] {
                print += &run(&format!("{enter}tc filter show dev {name} {hook}"))?.stdout;
            }
            if expected(Feature::Tcx) {
                writeln!(print, "tcx: {:?}", tcx(node, &netns, name)?)?;
            }
        }
    }
    Ok(print)
}

fn tcx(node: &Node, netns: &str, interface: &str) -> Result<Vec<u32>> {
    let query = || {
        let mut ids = Vec::new();
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let (_, programs) = SchedClassifier::query_tcx(interface, hook)?;
            ids.extend(programs.iter().map(ProgramInfo::id));
        }
        Ok(ids)
    };
    if netns.is_empty() { query() } else { node.within(netns, query) }
}

/// Ids of all programs that the agent has pinned.
fn pinned_programs() -> Result<BTreeSet<u32>> {
    let pins = std::fs::read_dir(format!("{PINS}/programs"))?;
    pins.map(|pin| Ok(ProgramInfo::from_pin(pin?.path())?.id())).collect()
}

/// How many of them the daemon pins once per node: those that hear of drops.
fn of_the_node() -> usize {
    if expected(Feature::DropReasons) { DropProgram::ALL.len() } else { 0 }
}

/// None of `ids` is in the kernel any more, nor attached anywhere.
fn have_gone(node: &Node, ids: &BTreeSet<u32>) -> Result<()> {
    node.eventually("the programs are unloaded", Duration::from_secs(20), || {
        let loaded = loaded_programs().filter_map(Result::ok).map(|program| program.id());
        let left = loaded.filter(|id| ids.contains(id)).count();
        Ok((left == 0).then_some(()))
    })
}

/// A node on which others have been at work.
fn lived_in(node: &Node) -> Result<()> {
    node.netns("old")?;
    run("ip link add theirs0 type veth peer name theirs1 netns old")?;
    run("ip link set theirs0 alias theirs")?;
    run("tc qdisc add dev theirs0 clsact")?;
    run("ip link set theirs0 up")?;
    run("ip -n old link set theirs1 up")?;
    Ok(())
}

fn succeeds(arguments: &str) -> Result<()> {
    let output = agent(arguments)?;
    ensure!(output.code == 0, "{arguments}: exit {}: {}", output.code, output.stderr);
    Ok(())
}

/// With offloads switched and XDP programs attached, besides. One far end has offloads of its own.
fn the_fast_path_leaves_nothing(node: &Node, by: &str) -> Result<()> {
    lived_in(node)?;
    let apply = |datapath: &str| -> Result<()> {
        let topology = format!(
            "namespaces: [{{ name: first }}, {{ name: second }}]
bridges: [{{ name: br0 }}]
pairs:
  - {{ name: one, datapath: {datapath}, ends: [{{ interface: f0, bridge: br0 }}, {{ namespace: first, interface: eth0, addresses: [10.0.0.2/24] }}] }}
  - {{ name: two, datapath: {datapath}, ends: [{{ interface: s0, bridge: br0 }}, {{ namespace: second, interface: eth0, addresses: [10.0.0.3/24] }}] }}
"
        );
        let file = node.file("pairs.yaml", &topology)?;
        succeeds(&format!("apply -f {}", file.display()))
    };
    // All of it but programs.
    let plain = || -> Result<String> {
        apply("observe")?;
        let ids = pinned_programs()?;
        succeeds("detach --all")?;
        have_gone(node, &ids)?;
        Ok(footprint(node)? + &offloads()?)
    };
    plain()?;
    run("nsenter --net=/run/netns/second ethtool -K eth0 tx off gro on")?;
    let before = plain()?;
    apply(by)?;
    let daemon = Agent::start(node, "")?;
    node.eventually("packets are redirected", Duration::from_secs(20), || {
        run("nsenter --net=/run/netns/first ping -q -c 2 -i 0.01 -W 1 10.0.0.3")?;
        let labels = [("interface", "f0"), ("method", by)];
        let redirected = daemon.page()?.value("veth_agent_redirects_total", &labels);
        Ok(redirected.is_ok_and(|count| count > 0.5).then_some(()))
    })?;
    let ids = pinned_programs()?;
    daemon.stop(node, Signal::SIGTERM)?;
    let switched = offloads()?;
    ensure!(before.contains(&switched) == (by == "tc"), "{switched}");
    succeeds("detach --all")?;
    have_gone(node, &ids)?;
    ensure!(before.contains(&offloads()?), "before:\n{before}\nafter:\n{}", offloads()?);
    let after = plain()?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

fn offloads() -> Result<String> {
    let mut all = String::new();
    for netns in ["first", "second"] {
        all += &run(&format!("nsenter --net=/run/netns/{netns} ethtool -k eth0"))?.stdout;
    }
    for near in ["f0", "s0"] {
        all += &run(&format!("ethtool -k {near}"))?.stdout;
        let shown = run(&format!("ip -details link show {near}"))?.stdout;
        all += if shown.contains("prog/xdp") { "XDP\n" } else { "no XDP\n" };
    }
    Ok(all)
}

#[test]
fn the_fast_path_by_tc_leaves_nothing() {
    on_node(|node| the_fast_path_leaves_nothing(node, "tc"));
}

#[test]
fn the_fast_path_by_xdp_leaves_nothing() {
    on_node(|node| the_fast_path_leaves_nothing(node, "xdp"));
}

fn nothing_is_left(node: &Node, mode: &str, delete_first: bool) -> Result<()> {
    lived_in(node)?;
    let before = footprint(node)?;
    let file = node.file("demo.yaml", TOPOLOGY)?;
    succeeds(&format!("apply {mode} -f {}", file.display()))?;
    let daemon = Agent::start(node, mode)?;
    run("nsenter --net=/run/netns/orange ping -q -f -c 100 192.168.1.3")?;
    run("ping -q -f -c 100 10.0.0.2")?;
    let ids = pinned_programs()?;
    let expected = 8 + of_the_node();
    ensure!(ids.len() == expected, "two programs in each of four namespaces, not {ids:?}");
    daemon.stop(node, Signal::SIGTERM)?;
    let delete = format!("delete -f {}", file.display());
    if delete_first {
        succeeds(&delete)?;
        succeeds("detach --all")?;
    } else {
        succeeds("detach --all")?;
        ensure!(listed()?.iter().all(|end| end.hooks == [None, None]));
        have_gone(node, &ids)?;
        succeeds(&delete)?;
    }
    have_gone(node, &ids)?;
    let after = footprint(node)?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    succeeds("detach --all")?;
    succeeds(&delete)
}

#[test]
fn the_node_is_as_before_with_tcx() {
    on_node(|node| {
        if lacks(Feature::Tcx) {
            return Ok(());
        }
        nothing_is_left(node, "--attach tcx", false)
    });
}

#[test]
fn the_node_is_as_before_with_clsact() {
    on_node(|node| nothing_is_left(node, "--attach clsact", false));
}

#[test]
fn the_node_is_as_before_when_the_pairs_went_first() {
    on_node(|node| nothing_is_left(node, "--attach clsact", true));
}

/// Which ends have programs, as `NETNS/INTERFACE`.
fn attached() -> Result<Vec<String>> {
    let mut names: Vec<_> = listed()?
        .iter()
        .filter(|end| end.hooks != [None, None])
        .map(|end| format!("{}/{}", end.label(), end.interface))
        .collect();
    names.sort();
    Ok(names)
}

fn detach_takes_off_what_it_names(node: &Node, mode: &str) -> Result<()> {
    lived_in(node)?;
    let file = node.file("demo.yaml", TOPOLOGY)?;
    succeeds(&format!("apply {mode} -f {}", file.display()))?;
    Agent::start(node, mode)?.stop(node, Signal::SIGTERM)?;
    let all =
        ["green/tap2", "host/host0", "host/theirs0", "old/eth0", "old/theirs1", "orange/tap1"];
    ensure!(attached()? == all);
    let ids = pinned_programs()?;
    succeeds("detach old")?;
    ensure!(attached()? == ["green/tap2", "host/host0", "host/theirs0", "orange/tap1"]);
    succeeds("detach demo")?;
    ensure!(attached()? == ["host/host0", "host/theirs0"]);
    let left = pinned_programs()?;
    ensure!(
        left.len() == 2 + of_the_node() && left.is_subset(&ids),
        "the host's stay: {left:?} of {ids:?}"
    );
    have_gone(node, &ids.difference(&left).copied().collect())?;
    succeeds("detach theirs0@host")?;
    ensure!(attached()? == ["host/host0"]);
    succeeds("detach demo")?;
    succeeds("detach --all")?;
    ensure!(attached()?.is_empty());
    Ok(())
}

#[test]
fn detach_takes_off_just_what_it_names_with_tcx() {
    on_node(|node| {
        if lacks(Feature::Tcx) {
            return Ok(());
        }
        detach_takes_off_what_it_names(node, "--attach tcx")
    });
}

#[test]
fn detach_takes_off_just_what_it_names_with_clsact() {
    on_node(|node| detach_takes_off_what_it_names(node, "--attach clsact"));
}

#[test]
fn detach_refuses_a_name_that_nothing_has() {
    on_node(|node| {
        let refused = || -> Result<()> {
            let output = agent("detach nobody")?;
            ensure!(output.code == 2, "exit {}", output.code);
            ensure!(output.stdout.is_empty());
            ensure!(output.stderr.lines().count() == 1, "{}", output.stderr);
            ensure!(output.stderr.contains("\"nobody\""), "{}", output.stderr);
            Ok(())
        };
        refused()?;
        lived_in(node)?;
        Agent::start(node, "")?.stop(node, Signal::SIGTERM)?;
        let before = attached()?;
        refused()?;
        ensure!(before == attached()? && before.len() == 2);
        Ok(())
    });
}

#[test]
fn detach_leaves_a_running_daemon_its_programs() {
    on_node(|node| {
        lived_in(node)?;
        let daemon = Agent::start(node, "")?;
        let before = attached()?;
        for what in ["--all", "host", "theirs0@host"] {
            let output = agent(&format!("detach {what}"))?;
            ensure!(output.code == 1, "detach {what}: exit {}: {}", output.code, output.stderr);
            ensure!(output.stderr.lines().count() == 1, "{}", output.stderr);
            ensure!(output.stderr.contains("stop it first"), "{}", output.stderr);
        }
        ensure!(before == attached()? && before.len() == 2);
        ensure!(daemon.get("/readyz")?.0 == 200);
        daemon.stop(node, Signal::SIGTERM)?;
        succeeds("detach --all")
    });
}
