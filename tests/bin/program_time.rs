//! What a run of each program costs above a program that does nothing, as JSON: nanoseconds by
//! `BPF_PROG_TEST_RUN`.

use std::{sync::mpsc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    programs::{SchedClassifier, TestRun as _, TestRunOptions},
};
use nix::{net::if_::if_nametoindex, sys::signal::Signal};
use serde_json::json;
use veth_agent::{
    datapath::{DEFAULT_BPFFS, HookName, Pins},
    netns,
};
use veth_tests::{Agent, NextProgram, Node, agent, on_node, run, udp_frame};

/// Runs in one call: a hop limit lasts for 63, and what is beyond would take another path.
const REPEAT: u32 = 60;

/// Rounds, each with one call of every program.
const ROUNDS: usize = 2000;

/// Two pods that the host routes between.
const ROUTED: &str = "
namespaces: [{ name: red }, { name: blue }]
pairs:
  - name: red
    datapath: tc
    ends:
      - { interface: r0, addresses: [169.254.1.1/32], routes: [{ to: 10.0.0.2/32 }] }
      - { namespace: red, interface: r1, addresses: [10.0.0.2/32] }
  - name: blue
    datapath: tc
    ends:
      - { interface: b0, addresses: [169.254.1.1/32], routes: [{ to: 10.0.0.3/32 }] }
      - { namespace: blue, interface: b1, addresses: [10.0.0.3/32] }
";

/// `TC_ACT_REDIRECT` and `TCX_NEXT`.
const REDIRECT: u32 = 7;
const NEXT: u32 = u32::MAX;

fn main() -> Result<()> {
    let (found, times) = mpsc::channel();
    on_node(move |node| Ok(found.send(measure(node)?)?));
    println!("{}", times.recv().context("nothing was measured")?);
    Ok(())
}

fn measure(node: &Node) -> Result<serde_json::Value> {
    run("sysctl -qw net.ipv4.ip_forward=1")?;
    let file = node.file("routed.yaml", ROUTED)?;
    ensure!(agent(&format!("apply -f {}", file.display()))?.code == 0);
    // A packet that has been redirected looks as it did before, but for its hop limit, so that it can
    // be repeated: the MACs of the two pairs are each other's.
    for (enter, interface, last) in
        [("", "r0", 1), ("-n red", "r1", 2), ("", "b0", 2), ("-n blue", "b1", 1)]
    {
        run(&format!("ip {enter} link set {interface} address 02:00:00:00:00:0{last}"))?;
    }
    let daemon = Agent::start(node, "--lease 1h")?;
    node.eventually("the pairs are fast", Duration::from_secs(20), || {
        let entries = daemon.page()?.value("veth_agent_map_entries", &[("map", "va_endpoints")])?;
        Ok((entries > 1.5).then_some(()))
    })?;
    daemon.stop(node, Signal::SIGTERM)?;

    let pins = Pins::at(DEFAULT_BPFFS.as_ref());
    let ours = SchedClassifier::from_pin(pins.program(netns::cookie()?, HookName::Ingress))?;
    let mut object: Ebpf = NextProgram::load()?;
    let empty: &mut SchedClassifier =
        object.program_mut(NextProgram::NAME).context("no program")?.try_into()?;
    empty.load()?;
    let empty: &SchedClassifier = empty;
    let (r0, red) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let good = udp_frame(r0, red, [10, 0, 0, 2], [10, 0, 0, 3]);
    // Not ours to redirect: the count and the look at the packet remain.
    let arp = [[0xff; 6].as_slice(), &red, &[8, 6], &[0; 50]].concat();
    // The far end's own programs count and nothing else.
    let far_cookie = node.within("red", || Ok(netns::cookie()?))?;
    let counting = SchedClassifier::from_pin(pins.program(far_cookie, HookName::Ingress))?;

    let near = if_nametoindex("r0")?;
    let far = node.within("red", || Ok(if_nametoindex("r1")?))?;
    let mut times = vec![Vec::new(); 5];
    for _ in 0..ROUNDS {
        times[0].push(time(empty, near, &good, NEXT)?);
        times[1].push(time(&ours, near, &good, REDIRECT)?);
        times[2].push(time(&ours, near, &arp, NEXT)?);
    }
    let within = node.within("red", || {
        let mut times = vec![Vec::new(); 2];
        for _ in 0..ROUNDS {
            times[0].push(time(empty, far, &good, NEXT)?);
            times[1].push(time(&counting, far, &good, NEXT)?);
        }
        Ok(times)
    })?;
    times[3].clone_from(&within[0]);
    times[4].clone_from(&within[1]);
    Ok(json!({
        "empty": times[0],
        "redirect": times[1],
        "fallback": times[2],
        "empty_far": times[3],
        "count": times[4],
    }))
}

/// Nanoseconds of a run.
fn time(program: &SchedClassifier, ifindex: u32, frame: &[u8], verdict: u32) -> Result<u64> {
    // `struct __sk_buff` up to `ifindex`, its eleventh word.
    let mut context = vec![0; 48 * 4];
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let result = program.test_run(TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: REPEAT,
        ..TestRunOptions::new()
    })?;
    ensure!(result.return_value == verdict, "verdict {}", result.return_value);
    Ok(u64::try_from(result.duration.as_nanos())?)
}
