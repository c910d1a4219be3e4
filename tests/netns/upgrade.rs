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
use veth_common::{
    endpoint::EndKey,
    journal::{Journal, RCU_EXPEDITED},
};
use veth_tests::{Agent, Node, agent, link_stats, on_node, run};

const PINS: &str = "/sys/fs/bpf/veth-agent/v1";
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

fn pair(node: &Node) -> Result<()> {
    for netns in ["orange", "green"] {
        node.quiet_netns(netns)?;
    }
    let file = node.file(
        "pair.yaml",
        "pairs: [{ name: p, ends: [{ namespace: orange, interface: tap1, addresses: [10.0.0.1/24] }, \
         { namespace: green, interface: tap2, addresses: [10.0.0.2/24] }] }]",
    )?;
    let applied = agent(&format!("apply -f {}", file.display()))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    Ok(())
}

#[test]
fn another_builds_programs_are_replaced_in_place_and_counters_go_on() {
    on_node(|node| {
        pair(node)?;
        run("nsenter --net=/run/netns/orange ping -q -c 3 -i 0.01 10.0.0.2")?;
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
        let pinned: Vec<u32> = pins("programs")?
            .iter()
            .map(|path| Ok(ProgramInfo::from_pin(path)?.id()))
            .collect::<Result<_>>()?;
        ensure!(after.iter().all(|(_, program)| pinned.contains(program)), "{after:?} {pinned:?}");

        run("nsenter --net=/run/netns/orange ping -q -c 4 -i 0.01 10.0.0.2")?;
        let kernel = link_stats("orange", "tap1")?;
        let page = daemon.page()?;
        let packets = |way| page.count("veth_agent_packets_total", "orange", "tap1", way);
        assert_eq!((kernel.rx_packets, kernel.tx_packets), (packets("rx")?, packets("tx")?));

        let said = Agent::start_again(node, daemon, Signal::SIGTERM)?.said();
        ensure!(!said.contains("replaced"), "its own programs were replaced: {said}");
        assert_eq!(after, links()?);
        Ok(())
    });
}

#[test]
fn grace_periods_are_expedited_only_meanwhile_even_after_a_crash() {
    on_node(|node| {
        let rcu = || -> Result<String> { Ok(fs::read_to_string(RCU)?.trim().to_owned()) };
        ensure!(rcu()? == "0", "{RCU} is on already");
        pair(node)?;
        // What a kill in mid-attach leaves behind.
        let map = MapData::from_pin(format!("{PINS}/maps/va_journal"))?;
        let mut journal: HashMap<_, EndKey, Journal> = Map::HashMap(map).try_into()?;
        let entry = Journal { flags: RCU_EXPEDITED, ..Journal::default() };
        journal.insert(EndKey::new(0, 0), entry, 0)?;
        fs::write(RCU, "1")?;
        let daemon = Agent::start(node, "--expedite-rcu")?;
        assert_eq!(rcu()?, "0", "left on");
        assert_eq!(journal.keys().count(), 0);
        drop(daemon);
        ensure!(agent("detach --all")?.code == 0);
        assert_eq!(rcu()?, "0");
        Ok(())
    });
}
