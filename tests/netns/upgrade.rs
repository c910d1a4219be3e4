//! Another build's programs are replaced in place, and what was changed for speed is put back.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use aya::{
    maps::{HashMap, Map, MapData},
    programs::{
        ProgramInfo,
        links::{FdLink, PinnedLink},
    },
};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_common::{
    endpoint::EndKey,
    journal::{Journal, RCU_EXPEDITED},
};
use veth_tests::{
    Agent, Foreign, Node, PINS, StatusHook, agent, lacks, link_stats, on_node, run, status_hooks,
};

const RCU: &str = "/sys/kernel/rcu_expedited";

fn pins(folder: &str) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = fs::read_dir(format!("{PINS}/{folder}"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// Id and program of every pinned link.
fn links() -> Result<Vec<(u32, u32)>> {
    pins("links")?
        .iter()
        .map(|path| {
            let info = FdLink::from(PinnedLink::from_pin(path)?).info()?;
            Ok((info.id(), info.program_id()))
        })
        .collect()
}

/// Lets the programs of both hooks change places, so that each is not what the agent has for it.
fn swap_programs() -> Result<()> {
    for ingress in pins("programs")?.iter().filter(|path| path.ends_with_hook("ingress")) {
        let name = ingress.to_str().context("not text")?;
        let egress = name.replace("ingress", "egress");
        run(&format!("mv {name} {PINS}/programs/swapping"))?;
        run(&format!("mv {egress} {name}"))?;
        run(&format!("mv {PINS}/programs/swapping {egress}"))?;
    }
    Ok(())
}

trait EndsWithHook {
    fn ends_with_hook(&self, hook: &str) -> bool;
}

impl EndsWithHook for PathBuf {
    fn ends_with_hook(&self, hook: &str) -> bool {
        self.to_str().is_some_and(|path| path.ends_with(hook))
    }
}

fn pair(node: &Node, by: &str) -> Result<()> {
    for netns in ["orange", "green"] {
        node.quiet_netns(netns)?;
    }
    let file = node.file(
        "pair.yaml",
        "pairs: [{ name: p, ends: [{ namespace: orange, interface: tap1, addresses: [10.0.0.1/24] }, \
         { namespace: green, interface: tap2, addresses: [10.0.0.2/24] }] }]",
    )?;
    let applied = agent(&format!("apply --attach {by} -f {}", file.display()))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    node.acquaint([("orange", "tap1", "10.0.0.1"), ("green", "tap2", "10.0.0.2")])
}

fn ping(count: u64) -> Result<()> {
    run(&format!("nsenter --net=/run/netns/orange ping -q -c {count} -i 0.01 10.0.0.2"))?;
    Ok(())
}

/// What the page says of an end: packets received and sent.
fn counted(daemon: &Agent) -> Result<[u64; 2]> {
    let page = daemon.page()?;
    let packets = |way| page.count("veth_agent_packets_total", "orange", "tap1", way);
    Ok([packets("rx")?, packets("tx")?])
}

fn pinned_programs() -> Result<Vec<u64>> {
    let id = |path: &PathBuf| Ok(u64::from(ProgramInfo::from_pin(path)?.id()));
    pins("programs")?.iter().map(id).collect()
}

#[test]
fn another_builds_programs_are_replaced_in_place_and_counters_go_on() {
    if lacks(Feature::Tcx) {
        return;
    }
    on_node(|node| {
        pair(node, "tcx")?;
        ping(3)?;
        let before = links()?;
        ensure!(before.len() == 4, "{before:?}");
        swap_programs()?;

        let daemon = Agent::start(node, "")?;
        ensure!(daemon.said().contains("replaced the programs of another build"));
        let after = links()?;
        for ((old_link, old_program), (link, program)) in before.iter().zip(&after) {
            assert_eq!(old_link, link, "a link was taken off");
            assert_ne!(old_program, program, "a program is still there");
        }
        let pinned = pinned_programs()?;
        let is_pinned = |program: u32| pinned.contains(&u64::from(program));
        ensure!(after.iter().all(|(_, program)| is_pinned(*program)), "{after:?} {pinned:?}");

        ping(4)?;
        let kernel = link_stats("orange", "tap1")?;
        assert_eq!([kernel.rx_packets, kernel.tx_packets], counted(&daemon)?);

        let said = Agent::start_again(node, daemon, Signal::SIGTERM)?.said();
        ensure!(!said.contains("replaced"), "its own programs were replaced: {said}");
        assert_eq!(after, links()?);
        Ok(())
    });
}

/// Puts another program behind a pin of the agent's and into the filter that runs it; says which.
fn disguise(hook: &StatusHook) -> Result<u64> {
    let pin = format!("{PINS}/programs/{}-{}", hook.cookie, hook.hook);
    fs::remove_file(&pin)?;
    let id = Foreign::load(pin.trim_start_matches("/sys/fs/bpf/"))?.id()?;
    run(&format!(
        "nsenter --net=/run/netns/{} tc filter replace dev {} {} pref 1 handle 1 protocol all \
         bpf da object-pinned {pin}",
        hook.netns, hook.interface, hook.hook
    ))?;
    Ok(u64::from(id))
}

#[test]
fn another_builds_filters_are_replaced_in_place_and_counters_go_on() {
    on_node(|node| {
        pair(node, "clsact")?;
        ping(3)?;
        let before = status_hooks()?;
        ensure!(before.len() == 4, "{before:?}");
        let others: Vec<_> = before.iter().map(disguise).collect::<Result<_>>()?;

        let daemon = Agent::start(node, "--attach clsact")?;
        ensure!(daemon.said().contains("replaced the programs of another build"));
        let after = status_hooks()?;
        let pinned = pinned_programs()?;
        for ((before, after), other) in before.iter().zip(&after).zip(&others) {
            ensure!(after.program != *other, "{after:?} is still the other's");
            ensure!(pinned.contains(&after.program), "{after:?} {pinned:?}");
            assert_eq!(&StatusHook { program: before.program, ..after.clone() }, before);
        }

        ping(4)?;
        // What passed the first programs, and what passes the new ones.
        let kernel = link_stats("orange", "tap1")?;
        assert_eq!([kernel.rx_packets, kernel.tx_packets], counted(&daemon)?);

        let said = Agent::start_again(node, daemon, Signal::SIGTERM)?.said();
        ensure!(!said.contains("replaced"), "its own programs were replaced: {said}");
        assert_eq!(after, status_hooks()?);
        Ok(())
    });
}

#[test]
fn grace_periods_are_expedited_only_meanwhile_even_after_a_crash() {
    on_node(|node| {
        let rcu = || -> Result<String> { Ok(fs::read_to_string(RCU)?.trim().to_owned()) };
        ensure!(rcu()? == "0", "{RCU} is on already");
        pair(node, "auto")?;
        // What a kill in mid-attach leaves behind.
        let map = MapData::from_pin(format!("{PINS}/maps/va_journal"))?;
        let mut journal: HashMap<_, EndKey, Journal> = Map::HashMap(map).try_into()?;
        let entry = Journal { flags: RCU_EXPEDITED, ..Journal::default() };
        let node_itself = EndKey::new(0, 0);
        journal.insert(node_itself, entry, 0)?;
        fs::write(RCU, "1")?;
        let daemon = Agent::start(node, "--expedite-rcu")?;
        assert_eq!(rcu()?, "0", "left on");
        ensure!(journal.get(&node_itself, 0).is_err(), "still in the journal");
        drop(daemon);
        ensure!(agent("detach --all")?.code == 0);
        assert_eq!(rcu()?, "0");
        Ok(())
    });
}
