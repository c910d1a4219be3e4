//! The agent may stop and die at any moment; the programs go on.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_tests::{
    Agent, LinkStats, Node, PINS, Page, agent, expected, lacks, link_stats, on_node, run,
};

const ENDS: [(&str, &str); 2] = [("orange", "tap1"), ("green", "tap2")];
const FAMILIES: [&str; 2] = ["veth_agent_packets_total", "veth_agent_bytes_total"];

fn apply(node: &Node, mode: &str) -> Result<()> {
    // Without IPv6 nothing is sent before both ends are up, and dropped behind the hook.
    node.quiet_netns("orange")?;
    node.quiet_netns("green")?;
    let file = node.file(
        "demo.yaml",
        "
namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
",
    )?;
    let applied = agent(&format!("apply {mode} -f {}", file.display()))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    Ok(())
}

fn traffic() -> Result<()> {
    run("nsenter --net=/run/netns/orange ping -q -f -c 2000 192.168.1.3")?;
    Ok(())
}

fn counted(page: &Page, (netns, interface): (&str, &str)) -> Result<LinkStats> {
    let count = |family: usize, way| page.count(FAMILIES[family], netns, interface, way);
    Ok(LinkStats {
        rx_packets: count(0, "rx")?,
        rx_bytes: count(1, "rx")?,
        tx_packets: count(0, "tx")?,
        tx_bytes: count(1, "tx")?,
        tx_dropped: 0,
    })
}

/// The page says what the kernel says, in total, once nothing moves.
fn equals_the_kernel(node: &Node, daemon: &Agent) -> Result<Page> {
    let kernel = || -> Result<Vec<_>> { ENDS.iter().map(|end| link_stats(end.0, end.1)).collect() };
    let (kernel, page) = node.eventually("no traffic", Duration::from_secs(20), || {
        let before = kernel()?;
        let page = daemon.page()?;
        Ok((before == kernel()?).then_some((before, page)))
    })?;
    for (end, kernel) in ENDS.into_iter().zip(kernel) {
        let counted = counted(&page, end)?;
        ensure!(counted == LinkStats { tx_dropped: 0, ..kernel }, "{counted:?} of {kernel:?}");
    }
    Ok(page)
}

/// No counter of `later` is behind `earlier`.
fn none_went_back(earlier: &Page, later: &Page) -> Result<()> {
    for sample in earlier.samples.iter().filter(|sample| FAMILIES.contains(&sample.name.as_str())) {
        let labels: Vec<_> = sample.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let now = later.value(&sample.name, &labels)?;
        ensure!(now >= sample.value, "{sample:?} is {now} now");
    }
    Ok(())
}

/// The pins with the programs' ids, and what hangs on the hooks. A TCX chain's revision changes
/// with every change to it.
fn attachments(node: &Node) -> Result<BTreeMap<String, Vec<u64>>> {
    let mut found = BTreeMap::new();
    for kind in ["programs", "links"] {
        for pin in std::fs::read_dir(format!("{PINS}/{kind}"))? {
            let path = pin?.path();
            let id = ProgramInfo::from_pin(&path).map_or(0, |program| program.id());
            found.insert(path.display().to_string(), vec![u64::from(id)]);
        }
    }
    for (netns, interface) in ENDS {
        for hook in [TcAttachType::Ingress, TcAttachType::Egress] {
            let name = format!("{netns}/{interface} {hook:?}");
            let tcx = node.within(netns, || {
                let (revision, programs) = SchedClassifier::query_tcx(interface, hook)?;
                let ids = programs.iter().map(|program| u64::from(program.id()));
                Ok([revision].into_iter().chain(ids).collect())
            });
            found.insert(name, if expected(Feature::Tcx) { tcx? } else { Vec::new() });
        }
        for hook in ["ingress", "egress"] {
            let show = format!("nsenter --net=/run/netns/{netns} tc filter show dev {interface}");
            found.insert(run(&format!("{show} {hook}"))?.stdout, Vec::new());
        }
    }
    Ok(found)
}

fn restarts_are_not_noticed(node: &Node, mode: &str) -> Result<()> {
    apply(node, mode)?;
    let applied = attachments(node)?;
    let mut daemon = Agent::start(node, mode)?;
    // Once per node, and only by the daemon: what hears of drops.
    let before = attachments(node)?;
    let of_ends = before.iter().filter(|(name, _)| !name.contains("/drops-"));
    ensure!(of_ends.eq(&applied), "{applied:?} has become {before:?}");
    traffic()?;
    let mut page = equals_the_kernel(node, &daemon)?;
    for signal in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        match signal {
            Some(signal) => _ = daemon.stop(node, signal)?,
            None => daemon.kill()?,
        }
        traffic()?;
        daemon = Agent::start(node, mode)?;
        none_went_back(&page, &daemon.page()?)?;
        page = equals_the_kernel(node, &daemon)?;
        ensure!(attachments(node)? == before, "{before:?} has become {:?}", attachments(node)?);
    }
    Ok(())
}

#[test]
fn a_restart_adopts_what_is_attached_by_tcx() {
    on_node(|node| {
        if lacks(Feature::Tcx) {
            return Ok(());
        }
        restarts_are_not_noticed(node, "--attach tcx")
    });
}

#[test]
fn a_restart_adopts_what_is_attached_by_clsact() {
    on_node(|node| restarts_are_not_noticed(node, "--attach clsact"));
}

/// Refused with exit 1 and one line, and the running one does not notice.
fn refused(arguments: &str, reason: &str) -> Result<()> {
    let output = agent(arguments)?;
    ensure!(output.code == 1, "{arguments}: exit {}: {}", output.code, output.stderr);
    ensure!(output.stderr.lines().count() == 1, "{}", output.stderr);
    ensure!(output.stderr.contains(reason), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_second_daemon_is_refused() {
    on_node(|node| {
        apply(node, "")?;
        let daemon = Agent::start(node, "")?;
        refused("run --listen 127.0.0.1:0", "another `veth-agent run` is at work")?;
        traffic()?;
        equals_the_kernel(node, &daemon)?;
        ensure!(daemon.get("/healthz")?.0 == 200);
        daemon.stop(node, Signal::SIGTERM)?;
        Ok(())
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    on_node(|_| {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?;
        refused(&format!("run --listen {address}"), &format!("cannot listen on {address}"))
    });
}

#[test]
fn ends_without_room_are_counted_and_get_what_becomes_free() {
    on_node(|node| {
        node.netns("blue")?;
        for pair in ["1", "2", "3"] {
            run(&format!("ip link add h{pair} type veth peer name p{pair} netns blue"))?;
        }
        let daemon = Agent::start(node, "--max-ends 2")?;
        let served = || -> Result<usize> {
            let page = daemon.page()?;
            let ends = page.all("veth_agent_packets_total", &[("direction", "rx")]);
            Ok(ends.count())
        };
        ensure!(served()? == 2, "{} ends are served", served()?);
        let page = daemon.page()?;
        let full = page.value("veth_agent_attach_errors_total", &[("cause", "map_full")])?;
        ensure!(full >= 4.0, "{full} errors");
        let fill = |name| page.value(name, &[("map", "va_ends")]);
        ensure!((fill("veth_agent_map_entries")? - 2.0).abs() < 0.5);
        ensure!((fill("veth_agent_map_capacity")? - 2.0).abs() < 0.5);
        ensure!(page.all("veth_agent_link_up", &[]).count() == 6, "ends without room are shown");
        let said = daemon.said();
        let line = said.lines().find(|line| line.contains("--max-ends"));
        line.context("nothing was said about --max-ends")?;

        let ends = || daemon.page().map(|page| page.samples);
        let first = ends()?
            .into_iter()
            .find(|sample| sample.name == "veth_agent_packets_total")
            .context("no end is served")?;
        let pair = first.labels["interface"].trim_start_matches(['h', 'p']).to_owned();
        run(&format!("ip link del h{pair}"))?;
        node.eventually("others got its room", Duration::from_secs(20), || {
            let living = |sample: &&veth_tests::Sample| {
                sample.labels["direction"] == "rx" && !sample.labels["interface"].ends_with(&pair)
            };
            let page = daemon.page()?;
            let living = page.all("veth_agent_packets_total", &[]).filter(living).count();
            Ok((living == 2).then_some(()))
        })?;
        ensure!(daemon.get("/healthz")?.0 == 200);
        daemon.stop(node, Signal::SIGTERM)?;
        Ok(())
    });
}
