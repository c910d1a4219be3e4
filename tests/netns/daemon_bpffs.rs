//! Where the agent keeps its pins.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_tests::{Agent, Node, PINS, agent, expected, listed, on_node, run};

fn pair(node: &Node) -> Result<()> {
    node.netns("blue")?;
    run("ip link add h0 type veth peer name eth0 netns blue")?;
    Ok(())
}

/// The mode bits of every file and directory of the agent's.
fn modes(family: &Path) -> Result<Vec<(String, u32)>> {
    let paths = run(&format!("find {}", family.display()))?.stdout;
    let modes = paths.lines().map(|path| {
        let metadata = std::fs::metadata(path)?;
        let beyond_owner = metadata.permissions().mode() & 0o077;
        Ok((path.to_owned(), if metadata.is_dir() { beyond_owner } else { 0 }))
    });
    modes.collect()
}

/// What hears of drops is the node's.
fn is_link_of_end(path: &str) -> bool {
    path.contains("/links/") && !path.contains("/links/drops-")
}

#[test]
fn bpffs_is_mounted_where_it_is_missing_and_pins_are_private() {
    on_node(|node| {
        pair(node)?;
        let bpffs = node.scratch().join("bpffs");
        std::fs::create_dir(&bpffs)?;
        run(&format!("mount -t tmpfs tmpfs {}", bpffs.display()))?;
        let option = format!("--bpffs {}", bpffs.display());
        let daemon = Agent::start(node, &option)?;
        let kind = run(&format!("stat -f -c %T {}", bpffs.display()))?.stdout;
        ensure!(kind == "bpf_fs\n", "{kind}");
        let family = bpffs.join("veth-agent");
        let modes = modes(&family)?;
        let links = if expected(Feature::Tcx) { 4 } else { 0 };
        ensure!(
            modes.iter().filter(|(path, _)| is_link_of_end(path)).count() == links,
            "{modes:?}"
        );
        ensure!(modes.iter().all(|(_, open)| *open == 0), "{modes:?}");
        ensure!(!Path::new("/sys/fs/bpf/veth-agent").exists());
        daemon.stop(node, Signal::SIGTERM)?;
        let detached = agent(&format!("{option} detach --all"))?;
        ensure!(detached.code == 0, "{}", detached.stderr);
        ensure!(!family.exists());
        Ok(())
    });
}

#[test]
fn a_bpffs_that_cannot_be_is_named() {
    on_node(|_| {
        let output = agent("--bpffs /nowhere/bpf run --listen 127.0.0.1:0")?;
        ensure!(output.code == 1, "exit {}", output.code);
        ensure!(output.stderr.lines().count() == 1, "{}", output.stderr);
        ensure!(output.stderr.contains("/nowhere/bpf"), "{}", output.stderr);
        Ok(())
    });
}

/// Puts a map of another layout where the agent's is, while programs are attached by `mode`.
fn another_layout_is_refused_and_mended(node: &Node, mode: &str, map: &str) -> Result<()> {
    pair(node)?;
    Agent::start(node, mode)?.stop(node, Signal::SIGTERM)?;
    let pin = format!("{PINS}/maps/{map}");
    std::fs::remove_file(&pin)?;
    run(&format!("bpftool map create {pin} type hash key 4 value 4 entries 8 name {map}"))?;
    let file = node.file("demo.yaml", "namespaces: [{ name: green }]\npairs: [{ name: demo, ends: [{ interface: t0 }, { namespace: green, interface: t1 }] }]")?;
    let apply = format!("apply -f {}", file.display());
    for command in ["run --listen 127.0.0.1:0", &apply, "detach host"] {
        let output = agent(command)?;
        ensure!(output.code == 1, "{command}: exit {}: {}", output.code, output.stderr);
        ensure!(output.stderr.lines().count() == 1, "{command}: {}", output.stderr);
        ensure!(output.stderr.contains(&pin), "{command}: {}", output.stderr);
        ensure!(output.stderr.contains("veth-agent detach --all"), "{command}: {}", output.stderr);
    }
    ensure!(!Path::new("/run/netns/green").exists(), "apply left something");
    let detached = agent("detach --all")?;
    ensure!(detached.code == 0, "{}", detached.stderr);
    ensure!(!Path::new("/sys/fs/bpf/veth-agent").exists());
    ensure!(listed()?.iter().all(|end| end.hooks == [None, None]));
    let filters = run("tc filter show dev h0 ingress")?.stdout;
    ensure!(filters.is_empty(), "{filters}");
    Agent::start(node, mode)?.stop(node, Signal::SIGTERM)?;
    ensure!(listed()?.iter().all(veth_tests::ListedEnd::attached));
    Ok(())
}

#[test]
fn slots_of_another_layout_are_refused_and_detach_all_mends_it() {
    on_node(|node| another_layout_is_refused_and_mended(node, "", "va_ends"));
}

#[test]
fn a_journal_of_another_layout_is_refused_and_detach_all_mends_it() {
    on_node(|node| another_layout_is_refused_and_mended(node, "--attach clsact", "va_journal"));
}
