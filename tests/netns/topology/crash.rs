//! `kill -9` at any moment: the next `apply` ends in the wanted state, and knows what is its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Picture, agent_path, bearable, on_node, run, shell, try_run};

use super::{EVERYTHING, File, move_in};

/// At how many moments, on a machine that is not slow.
const ROUNDS: u64 = 40;

/// How long an undisturbed `apply` takes.
fn measure(file: &File) -> Result<Duration> {
    let started = Instant::now();
    file.apply()?;
    Ok(started.elapsed())
}

fn kill_after(file: &File, delay: Duration) -> Result<()> {
    let (delay, agent) = (delay.as_secs_f64(), agent_path().display());
    let line = format!("timeout -s KILL {delay:.4} {agent} apply -f {}", file.0.display());
    let output = try_run(&line)?;
    // 137 is SIGKILL; 0 where it was quicker.
    ensure!([0, 137].contains(&output.code), "{output:?}");
    Ok(())
}

#[test]
fn killed_at_any_moment_it_is_applied_and_deleted_again() {
    on_node(|node| {
        move_in(node)?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        let duration = measure(&file)?;
        file.delete()?;
        before.still_holds()?;
        let rounds = u32::try_from(bearable(ROUNDS).max(12))?;
        for round in 0..rounds {
            let delay = duration * (round + 1) / rounds;
            let told = || format!("killed after {delay:?} of {duration:?}");
            kill_after(&file, delay)?;
            file.apply().with_context(told)?;
            file.settled().with_context(told)?;
            file.delete().with_context(told)?;
            before.still_holds().with_context(told)?;
        }
        Ok(())
    });
}

fn adopted(node: &Node, by_hand: &str) -> Result<()> {
    move_in(node)?;
    node.netns("there")?;
    let before = Picture::take()?;
    let text = "
namespaces: [{ name: orange }]
pairs:
  - name: p
    ends:
      - { interface: p0, addresses: [10.1.0.1/24] }
      - { namespace: there, interface: p1, addresses: [10.1.0.2/24], mtu: 1400 }
";
    let file = File::new(node, "t.yaml", text)?;
    shell(by_hand)?;
    file.apply()?;
    for end in ["ip link show dev p0", "ip -n there link show dev p1"] {
        let shown = run(end)?.stdout;
        ensure!(shown.contains("alias veth-agent:p;datapath=observe"), "{shown}");
    }
    run("ping -q -c 1 -W 5 10.1.0.2")?;
    file.settled()?;
    file.delete()?;
    before.still_holds()
}

#[test]
fn a_pair_that_was_not_marked_yet_is_adopted() {
    on_node(|node| adopted(node, "ip link add p0 type veth peer name p1 netns there mtu 1400"));
}

#[test]
fn a_pair_of_which_one_end_was_marked_is_adopted() {
    on_node(|node| {
        adopted(
            node,
            "ip link add p0 type veth peer name p1 netns there mtu 1400
             ip link set p0 alias 'veth-agent:p;datapath=observe'",
        )
    });
}

#[test]
fn a_bridge_that_was_not_marked_yet_is_known_again() {
    on_node(|node| {
        move_in(node)?;
        let before = Picture::take()?;
        let file = File::new(node, "t.yaml", "bridges: [{ name: br0, addresses: [10.0.0.1/24] }]")?;
        let half_made = "ip link add br0 group 1986360424 type bridge";
        run(half_made)?;
        file.apply()?;
        let shown = run("ip link show dev br0")?.stdout;
        ensure!(shown.contains("group default") && shown.contains("veth-agent:bridge"), "{shown}");
        file.settled()?;
        file.delete()?;
        before.still_holds()?;
        run(half_made)?;
        file.delete()?;
        before.still_holds()
    });
}

#[test]
fn a_name_without_a_namespace_is_taken_over() {
    // What is left when it is killed between making the file and mounting the namespace on it.
    on_node(|node| {
        adopted(node, "touch /run/netns/orange; ip link add p0 type veth peer name p1 netns there")
    });
}

#[test]
fn such_a_name_is_not_removed_but_used() {
    on_node(|node| {
        let file = File::new(node, "t.yaml", "namespaces: [{ name: orange }]")?;
        std::fs::write("/run/netns/orange", "")?;
        file.delete()?;
        let foreign = std::path::Path::new("/run/netns/orange").exists();
        ensure!(foreign, "an empty file of somebody else's was removed");
        file.apply()?;
        file.delete()?;
        ensure!(!std::path::Path::new("/run/netns/orange").exists());
        Ok(())
    });
}
