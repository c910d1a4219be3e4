//! Counts go on over the agent's restarts and end with their end.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use nix::sys::signal::Signal;
use veth_tests::{Agent, PINS, agent, alone, bearable, run, undisturbed};

use super::{BLUE, BLUE_ADDRESS, RED, RED_ADDRESS, SOON, drops, lose, pair, send, with_reasons};

#[test]
fn counts_go_on_while_no_agent_runs_and_when_one_comes_back() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let _room = undisturbed()?;
        let closed = |count| send(node, "red", "10.0.0.2:9", count, 100);
        closed(10)?;
        lose(node, &daemon, &[(BLUE, &[("no_socket", 10)])])?;
        daemon.kill()?;
        closed(20)?;
        let daemon = Agent::start(node, "")?;
        lose(node, &daemon, &[(BLUE, &[("no_socket", 30)])])?;
        daemon.stop(node, Signal::SIGTERM)?;
        closed(40)?;
        let daemon = Agent::start(node, "")?;
        closed(80)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("no_socket", 150)])])
    });
}

/// Each start puts its own programs in the places of those that count.
#[test]
fn programs_are_replaced_without_a_packet_missed_or_counted_twice() {
    with_reasons(|node| {
        drop(pair(node)?);
        let _alone = alone()?;
        let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut replaced = Vec::new();
        let daemon = thread::scope(|scope| -> Result<Agent> {
            let flood = scope.spawn(|| -> Result<()> {
                while !over.load(Ordering::Relaxed) {
                    send(node, "red", "10.0.0.2:9", 500, 100)?;
                    sent.fetch_add(500, Ordering::Relaxed);
                }
                Ok(())
            });
            let restarted = (0..5).try_fold(None, |old: Option<Agent>, _| -> Result<_> {
                old.map(|old| old.kill()).transpose()?;
                let daemon = Agent::start(node, "")?;
                replaced.extend(counting()?);
                Ok(Some(daemon))
            });
            over.store(true, Ordering::Relaxed);
            flood.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
            restarted?.context("no daemon")
        })?;
        replaced.sort_unstable();
        replaced.dedup();
        ensure!(replaced.len() >= 5, "not replaced: {replaced:?}");
        let sent = sent.into_inner();
        ensure!(sent >= bearable(1000), "{sent} were sent");
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("no_socket", sent)])])
    });
}

/// Ids of the programs that count packets, of all agents of this kernel.
fn counting() -> Result<Vec<u32>> {
    let counting = loaded_programs().filter_map(Result::ok);
    let counting = counting.filter(|program| program.name_as_str() == Some("va_count_drop"));
    Ok(counting.map(|program| program.id()).collect())
}

/// The index is given to another end of the same namespace, which has lost nothing yet.
#[test]
fn an_end_with_the_index_of_one_that_is_gone_starts_at_zero() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 10, 100)?;
        lose(node, &daemon, &[(BLUE, &[("no_socket", 10)])])?;
        run("ip -n blue link del b1")?;
        node.eventually("the pair is gone", SOON, || {
            let pairs = daemon.page()?;
            let pairs: f64 = pairs.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum();
            Ok((pairs < 0.5).then_some(()))
        })?;
        // Its series linger.
        assert_eq!(drops(&daemon.page()?, BLUE)["no_socket"], 10);
        // `b2` so that no series of `b1` come back.
        run("ip -n blue link add b2 index 2 type veth peer name r2 netns red")?;
        let blue = ("blue", "b2");
        for (netns, interface, address) in
            [("red", "r2", RED_ADDRESS), ("blue", "b2", BLUE_ADDRESS)]
        {
            run(&format!("ip -n {netns} addr add {address}/24 dev {interface}"))?;
            run(&format!("ip -n {netns} link set {interface} up"))?;
        }
        node.acquaint([("red", "r2", RED_ADDRESS), ("blue", "b2", BLUE_ADDRESS)])?;
        let index = run("ip -n blue -o link show dev b2")?.stdout;
        ensure!(index.starts_with("2: "), "another index: {index}");
        crate::counts::attached(node, blue)?;
        crate::counts::carrier(node, blue)?;
        lose(node, &daemon, &[(blue, &[])])?;
        send(node, "red", "10.0.0.2:9", 7, 100)?;
        lose(node, &daemon, &[(blue, &[("no_socket", 7)]), (BLUE, &[("no_socket", 10)])])
    });
}

#[test]
fn detach_takes_the_programs_off() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        let pinned = |folder: &str| -> Result<usize> {
            let names = fs::read_dir(format!("{PINS}/{folder}"))?;
            let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            let names: Vec<String> = names.collect::<Result<_>>()?;
            Ok(names.iter().filter(|name| name.starts_with("drops-")).count())
        };
        assert_eq!((pinned("links")?, pinned("programs")?), (3, 3));
        let daemon_is_up = agent("detach --all")?;
        ensure!(daemon_is_up.code == 1, "{daemon_is_up:?}");
        daemon.kill()?;
        ensure!(agent("detach --all")?.code == 0);
        ensure!(!fs::exists(PINS)?);
        let again = Agent::start(node, "")?;
        let _room = undisturbed()?;
        send(node, "red", "10.0.0.2:9", 3, 100)?;
        lose(node, &again, &[(BLUE, &[("no_socket", 3)])])
    });
}
