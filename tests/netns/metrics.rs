//! The page that Prometheus reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_tests::{Agent, ListedEnd, Node, Page, expected, listed, on_node, run};

/// How long it may take on a machine that is busy with other things.
const SLOW: Duration = Duration::from_secs(20);

/// No two samples have equal labels, and all series of a family have the same label names.
fn is_sound(page: &Page) -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut names: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for sample in &page.samples {
        let labels: Vec<_> = sample.labels.iter().collect();
        ensure!(seen.insert((&sample.name, labels)), "twice on the page: {sample:?}");
        let own: BTreeSet<_> = sample.labels.keys().collect();
        let family = names.entry(&sample.name).or_insert_with(|| own.clone());
        ensure!(*family == own, "{sample:?} has not the labels {family:?}");
    }
    Ok(())
}

/// `promtool check metrics` has nothing to say.
fn promtool_accepts(node: &Node, daemon: &Agent) -> Result<()> {
    let (_, page) = daemon.get("/metrics")?;
    let page = node.file("page.txt", &page)?;
    let check = format!("promtool check metrics < '{}'", page.display());
    let output = run(&format!("sh {}", node.file("check.sh", &check)?.display()))?;
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

fn series(page: &Page, netns: &str, interface: &str) -> usize {
    page.all("veth_agent_packets_total", &[("netns", netns), ("interface", interface)]).count()
}

#[test]
fn equal_names_in_unnamed_namespaces_are_told_apart() {
    on_node(|node| {
        let (one, other) = (node.unnamed()?, node.unnamed()?);
        for (host, netns) in [("h0", &one), ("h1", &other)] {
            run(&format!("ip link add {host} type veth peer name eth0 netns {}", netns.pid()))?;
        }
        let daemon = Agent::start(node, "")?;
        let page = daemon.page()?;
        is_sound(&page)?;
        ensure!(one.label() != other.label());
        for netns in [one.label(), other.label()] {
            ensure!(series(&page, &netns, "eth0") == 2, "{netns} is not on the page");
        }
        promtool_accepts(node, &daemon)
    });
}

#[test]
fn a_namespace_made_again_has_its_series_to_itself() {
    on_node(|node| {
        let daemon = Agent::start(node, "")?;
        for round in 0..4_u64 {
            node.quiet_netns("blue")?;
            run("ip link add h0 type veth peer name eth0 netns blue")?;
            run("ip addr add 10.0.0.1/24 dev h0")?;
            run("ip link set h0 up")?;
            run("ip -n blue addr add 10.0.0.2/24 dev eth0")?;
            run("ip -n blue link set eth0 up")?;
            let fresh = || daemon.page()?.count("veth_agent_packets_total", "blue", "eth0", "rx");
            node.eventually("counted from zero", SLOW, || {
                let page = daemon.page()?;
                is_sound(&page)?;
                let attached = listed()?.iter().all(ListedEnd::attached);
                Ok((attached && fresh().is_ok_and(|packets| packets < 50)).then_some(()))
            })?;
            run("ping -q -f -c 100 10.0.0.2")?;
            let packets = fresh()?;
            ensure!((100..150).contains(&packets), "round {round}: {packets}");
            run("ip netns del blue")?;
            node.eventually("the pair is gone", SLOW, || {
                let page = daemon.page()?;
                is_sound(&page)?;
                let pairs: f64 = page.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum();
                Ok((pairs < 0.5).then_some(()))
            })?;
            let last = fresh()?;
            ensure!(last >= packets, "round {round}: {last} linger of {packets}");
        }
        promtool_accepts(node, &daemon)
    });
}

#[test]
fn an_inode_used_again_does_not_mix_two_unnamed_namespaces_up() {
    on_node(|node| {
        let daemon = Agent::start(node, "")?;
        let mut labels = BTreeSet::new();
        for _ in 0..4 {
            let netns = node.unnamed()?;
            run(&format!("ip link add h0 type veth peer name eth0 netns {}", netns.pid()))?;
            let label = netns.label();
            node.eventually("it is served", SLOW, || {
                let page = daemon.page()?;
                is_sound(&page)?;
                let labels = [("netns", label.as_str()), ("interface", "eth0")];
                let living = page.all("veth_agent_pair_info", &labels).count() == 1
                    && page.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum::<f64>()
                        > 0.5;
                Ok((living && series(&page, &label, "eth0") == 2).then_some(()))
            })?;
            labels.insert(label);
            drop(netns);
            node.eventually("it is gone", SLOW, || {
                let page = daemon.page()?;
                is_sound(&page)?;
                let pairs: f64 = page.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum();
                Ok((pairs < 0.5).then_some(()))
            })?;
        }
        let lingering = daemon.page()?;
        for label in &labels {
            ensure!(series(&lingering, label, "eth0") == 2, "{label} does not linger");
        }
        Ok(())
    });
}

#[test]
fn odd_names_are_escaped() {
    on_node(|node| {
        let (netns, interface) = (r#"o"dd\n{}"#, r#"a"b\n{}=,é"#);
        node.netns(netns)?;
        run(&format!("ip link add h0 type veth peer name {interface} netns {netns}"))?;
        let daemon = Agent::start(node, "")?;
        let (_, text) = daemon.get("/metrics")?;
        let labels = r#"interface="a\"b\\n{}=,é",netns="o\"dd\\n{}""#;
        let line = format!("veth_agent_link_up{{{labels}}} 0");
        ensure!(text.lines().any(|found| found == line), "{line}: {text}");
        let counter = "veth_agent_fragments_total{direction=\"tx\",family=\"ipv6\"";
        let line = format!("{counter},{labels}}} 0");
        ensure!(text.lines().any(|found| found == line), "{line}: {text}");
        promtool_accepts(node, &daemon)
    });
}

#[test]
fn the_page_has_what_it_should_and_nothing_else_is_served() {
    on_node(|node| {
        node.netns("blue")?;
        run("ip link add h0 type veth peer name eth0 netns blue")?;
        run("ip link add br0 type bridge")?;
        run("ip link set h0 master br0")?;
        for attach in ["tcx", "clsact"] {
            if attach == "tcx" && !expected(Feature::Tcx) {
                continue;
            }
            let daemon = Agent::start(node, &format!("--attach {attach}"))?;
            let (status, text) = daemon.get("/metrics")?;
            ensure!(status == 200 && text.contains("# HELP veth_agent_packets_total "));
            let page = Page::parse(&text)?;
            is_sound(&page)?;
            let info = page.all("veth_agent_pair_info", &[("interface", "h0")]).next();
            let info = &info.context("no pair_info")?.labels;
            let wanted = [
                ("bridge", "br0"),
                ("datapath", "observe"),
                ("interface", "h0"),
                ("namespace", ""),
                ("netns", "host"),
                ("pair", "h0@host"),
                ("peer_interface", "eth0"),
                ("peer_netns", "blue"),
                ("pod", ""),
                ("pod_uid", ""),
            ];
            let info: Vec<_> = info.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            ensure!(info == wanted, "{info:?}");
            let build = page.all("veth_agent_build_info", &[]).next().context("no build_info")?;
            ensure!(build.labels["attach"] == attach, "{build:?}");
            let source = [("source", "netlink")];
            ensure!(page.value("veth_agent_events_lost_total", &source)?.abs() < 0.5);
            ensure!(page.value("process_resident_memory_bytes", &[])? > 0.0);
            for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/", 404), ("/x", 404)] {
                let (found, body) = daemon.get(path)?;
                ensure!(found == status, "{path}: {found} {body}");
            }
            promtool_accepts(node, &daemon)?;
            daemon.stop(node, Signal::SIGTERM)?;
            ensure!(veth_tests::agent("detach --all")?.code == 0);
        }
        Ok(())
    });
}
