//! The daemon keeps up with what happens on the node.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;
use veth_tests::{
    Agent, ListedEnd, Node, Unnamed, agent, link_stats, listed, on_node, patient, run,
};

const SECOND: Duration = Duration::from_secs(1);

/// For how long a second is tried to be kept.
const ROUNDS: Duration = Duration::from_secs(30);

/// How long it may take on a machine that is busy with other things, or that the kernel takes to
/// end a namespace which nobody holds.
const SLOW: Duration = Duration::from_secs(20);

/// Whether an end has both programs, and both its series.
fn served(daemon: &Agent, label: &str, interface: &str) -> Result<bool> {
    let attached = listed()?
        .iter()
        .any(|end| end.label() == label && end.interface == interface && end.attached());
    let page = daemon.page()?;
    let labels = [("netns", label), ("interface", interface)];
    Ok(attached && page.all("veth_agent_packets_total", &labels).count() == 2)
}

/// Runs `commands`, waits until the ends that they make are served, and until those are gone again
/// that `undo` takes away. Both must take less than a second; that other work on the machine delays
/// a round is no fault, so one of several rounds must show it.
fn appears_and_goes(
    node: &Node,
    daemon: &Agent,
    commands: &[&str],
    ends: [(&str, &str); 2],
    undo: &str,
) -> Result<()> {
    let mut rounds = Vec::new();
    let started = Instant::now();
    while started.elapsed() < ROUNDS {
        for command in commands {
            run(command)?;
        }
        let made = Instant::now();
        node.eventually(&format!("{ends:?} are served"), SLOW, || {
            let [(one, first), (other, second)] = ends;
            Ok((served(daemon, one, first)? && served(daemon, other, second)?).then_some(()))
        })?;
        let (appeared, with) = (made.elapsed(), pairs(daemon)?);
        run(undo)?;
        let deleted = Instant::now();
        node.eventually("the list and veth_agent_pairs say that they are gone", SLOW, || {
            let is_end = |end: &ListedEnd| ends.contains(&(&end.label(), &end.interface));
            Ok((!listed()?.iter().any(is_end) && pairs(daemon)? < with - 0.5).then_some(()))
        })?;
        let went = deleted.elapsed();
        println!("{ends:?} appeared after {appeared:?} and went after {went:?}");
        if appeared < patient(SECOND) && went < patient(SECOND) {
            return Ok(());
        }
        rounds.push((appeared, went));
    }
    bail!("{ends:?} never appeared and went within a second: {rounds:?}")
}

#[test]
fn a_pair_appears_and_goes_within_a_second_wherever_it_is() {
    on_node(|node| {
        node.netns("old")?;
        let (known, other) = (node.unnamed()?, node.unnamed()?);
        let (known_label, other_label) = (known.label(), other.label());
        let inside = format!("nsenter -t {} --net ip link", known.pid());
        run(&format!("{inside} add k0 type veth peer name k1"))?;
        let daemon = Agent::start(node, "")?;
        let both_ways =
            |commands: &[&str], ends, undo| appears_and_goes(node, &daemon, commands, ends, undo);

        let link = "ip link add h0 type veth peer name h1";
        both_ways(&[link], [("host", "h0"), ("host", "h1")], "ip link del h0")?;

        let link = "ip link add h2 type veth peer name eth0 netns old";
        both_ways(&[link], [("host", "h2"), ("old", "eth0")], "ip link del h2")?;

        let link = "ip link add tap1 netns orange type veth peer name tap2 netns green";
        let commands = ["ip netns add orange", "ip netns add green", link];
        let undo = "ip -n orange link del tap1; ip netns del orange; ip netns del green";
        let undo = format!("sh -e {}", node.file("undo", undo)?.display());
        both_ways(&commands, [("orange", "tap1"), ("green", "tap2")], &undo)?;

        let link = format!("ip link add h3 type veth peer name eth0 netns {}", other.pid());
        both_ways(&[&link], [("host", "h3"), (&other_label, "eth0")], "ip link del h3")?;

        let link = format!("{inside} add u0 type veth peer name u1");
        let ends = [(known_label.as_str(), "u0"), (&known_label, "u1")];
        both_ways(&[&link], ends, &format!("{inside} del u0"))
    });
}

#[test]
fn an_end_that_moves_is_served_under_its_new_name() {
    on_node(|node| {
        node.netns("green")?;
        let daemon = Agent::start(node, "")?;
        run("ip link add h0 type veth peer name h1")?;
        node.eventually("h1 is served", SLOW, || Ok(served(&daemon, "host", "h1")?.then_some(())))?;
        run("ip link set h1 netns green")?;
        node.eventually("h1 is served in green", SLOW, || {
            Ok(served(&daemon, "green", "h1")?.then_some(()))
        })?;
        run("ip -n green link set h1 name h9")?;
        node.eventually("h9 is served in green", SLOW, || {
            Ok(served(&daemon, "green", "h9")?.then_some(()))
        })
    });
}

fn pairs(daemon: &Agent) -> Result<f64> {
    Ok(daemon.page()?.all("veth_agent_pairs", &[]).map(|sample| sample.value).sum())
}

/// Packets and bytes of an end as the page has them, while it has them.
fn on_page(daemon: &Agent, netns: &str, interface: &str) -> Result<Option<[u64; 4]>> {
    let page = daemon.page()?;
    let labels = [("netns", netns), ("interface", interface)];
    if page.all("veth_agent_packets_total", &labels).next().is_none() {
        return Ok(None);
    }
    let packets = |way| page.count("veth_agent_packets_total", netns, interface, way);
    let bytes = |way| page.count("veth_agent_bytes_total", netns, interface, way);
    Ok(Some([packets("rx")?, bytes("rx")?, packets("tx")?, bytes("tx")?]))
}

fn in_kernel(netns: &str, interface: &str) -> Result<[u64; 4]> {
    let stats = link_stats(netns, interface)?;
    Ok([stats.rx_packets, stats.rx_bytes, stats.tx_packets, stats.tx_bytes])
}

/// `apply`, traffic, then `end_it`: the last values stay for as long as they should, and no longer.
fn last_values_linger(node: &Node, end_it: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    for name in ["orange", "green"] {
        node.quiet_netns(name)?;
    }
    let file = node.file(
        "demo.yaml",
        "pairs: [{ name: demo, ends: [
            { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] },
            { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }] }]",
    )?;
    let file = file.display().to_string();
    let applied = agent(&format!("apply -f {file}"))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    node.acquaint([("orange", "tap1", "192.168.1.2"), ("green", "tap2", "192.168.1.3")])?;
    let linger = patient(Duration::from_secs(2));
    let daemon = Agent::start(node, &format!("--linger {}s", linger.as_secs()))?;
    ensure!((pairs(&daemon)? - 1.0).abs() < f64::EPSILON);
    run("nsenter --net=/run/netns/orange ping -q -f -c 1000 192.168.1.3")?;
    let ends = [("orange", "tap1"), ("green", "tap2")];
    let kernel = || -> Result<_> { ends.iter().map(|end| in_kernel(end.0, end.1)).collect() };
    let last: Vec<[u64; 4]> = kernel()?;
    end_it(&file)?;
    let gone = Instant::now();
    node.eventually("list and veth_agent_pairs say so", SLOW, || {
        Ok((listed()?.is_empty() && pairs(&daemon)? < 0.5).then_some(()))
    })?;
    for (end, last) in ends.into_iter().zip(last) {
        let lingering = on_page(&daemon, end.0, end.1)?;
        ensure!(lingering == Some(last), "{end:?}: {lingering:?}, in the kernel {last:?}");
        let labels = [("netns", end.0), ("interface", end.1)];
        ensure!(daemon.page()?.value("veth_agent_link_up", &labels)? < 0.5);
    }
    node.eventually("the series end", SLOW, || {
        Ok(on_page(&daemon, "orange", "tap1")?.is_none().then_some(()))
    })?;
    // The daemon may have known it a little earlier.
    let least = linger - Duration::from_millis(100);
    ensure!(gone.elapsed() >= least, "only {:?}", gone.elapsed());
    ensure!(daemon.page()?.all("veth_agent_pair_info", &[]).next().is_none());
    daemon.stop(node, Signal::SIGTERM)?;
    Ok(())
}

#[test]
fn the_last_values_of_a_deleted_link_linger() {
    on_node(|node| {
        last_values_linger(node, |_| {
            run("ip -n orange link del tap1")?;
            Ok(())
        })
    });
}

#[test]
fn the_last_values_of_a_deleted_pair_linger() {
    on_node(|node| {
        last_values_linger(node, |file| {
            let deleted = agent(&format!("delete -f {file}"))?;
            ensure!(deleted.code == 0, "{}", deleted.stderr);
            Ok(())
        })
    });
}

/// The daemon has read and attached in the namespace, and does not keep it alive.
fn dies(
    node: &Node,
    daemon: &Agent,
    label: &str,
    end_it: impl FnOnce() -> Result<()>,
) -> Result<()> {
    node.eventually(
        "its end is served",
        SLOW,
        || Ok(served(daemon, label, "eth0")?.then_some(())),
    )?;
    end_it()?;
    node.eventually("the other end is gone too", SLOW, || {
        Ok((!run("ip -o link")?.stdout.contains("h0@")).then_some(()))
    })?;
    node.eventually("the list and the page say so", SLOW, || {
        Ok((listed()?.is_empty() && pairs(daemon)? < 0.5).then_some(()))
    })
}

#[test]
fn a_namespace_dies_when_its_owner_lets_go_of_it() {
    on_node(|node| {
        let daemon = Agent::start(node, "")?;
        node.netns("blue")?;
        run("ip link add h0 type veth peer name eth0 netns blue")?;
        dies(node, &daemon, "blue", || {
            run("ip netns del blue")?;
            Ok(())
        })?;
        let unnamed: Unnamed = node.unnamed()?;
        run(&format!("ip link add h0 type veth peer name eth0 netns {}", unnamed.pid()))?;
        let label = unnamed.label();
        dies(node, &daemon, &label, || {
            drop(unnamed);
            Ok(())
        })
    });
}
