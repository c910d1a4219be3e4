//! A command that is traced: what it prints, what it is told, and how long it is waited for.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{Node, Tracer, agent, agent_path, on_node, run};

use super::{cable, nothing_left, send};

const SOON: Duration = Duration::from_secs(20);

/// Traces a script of the shell.
fn trace(node: &Node, arguments: &str, script: &str) -> Result<Tracer> {
    let mut command = Command::new(agent_path());
    command.arg("trace").args(arguments.split_whitespace()).args(["--", "sh", "-c", script]);
    Tracer::spawn(node, command)
}

fn heard(node: &Node, tracer: &Tracer, words: &str) -> Result<String> {
    node.eventually(words, SOON, || Ok(Some(tracer.said()).filter(|said| said.contains(words))))
}

#[test]
fn what_it_prints_is_no_data() {
    on_node(|node| {
        cable(node)?;
        let ping = "nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2";
        for (arguments, is_data) in
            [("-o json", true), ("-o pcapng", true), ("-w -", true), ("-o wide", false)]
        {
            // A capture file is no text, but what ping says would stand in it all the same.
            let traced = agent(&format!("trace {arguments} -- {ping}"))?;
            let (printed, said) =
                (traced.stdout.contains("1 received"), traced.stderr.contains("1 received"));
            ensure!(traced.code == 0 && printed != is_data && said == is_data, "{traced:?}");
        }
        let file = node.scratch().join("packets").display().to_string();
        let traced = agent(&format!("trace -w {file} -- {ping}"))?;
        ensure!(traced.stdout.contains("1 received"), "{traced:?}");
        Ok(())
    });
}

#[test]
fn it_is_told_by_the_same_signal() {
    on_node(|node| {
        cable(node)?;
        for (signal, name) in
            [(Signal::SIGINT, "INT"), (Signal::SIGTERM, "TERM"), (Signal::SIGHUP, "HUP")]
        {
            let script = format!(
                "trap 'echo told {name} >&2; exit 3' {name}; echo ready >&2; while :; do sleep 0.01; done"
            );
            let tracer = trace(node, "--attach clsact", &script)?;
            heard(node, &tracer, "ready")?;
            let traced = tracer.stop(node, signal)?;
            let at = |words: &str| traced.said.find(words).with_context(|| traced.said.clone());
            ensure!(traced.code == 0 && at("seen ")? < at(&format!("told {name}"))?, "{traced:?}");
            ensure!(traced.said.contains("the command ended with exit status: 3"), "{traced:?}");
            nothing_left()?;
        }
        Ok(())
    });
}

/// The totals are there, and the programs off, while it goes on.
#[test]
fn it_goes_on_after_the_trace() {
    on_node(|node| {
        cable(node)?;
        let fifo = node.scratch().join("fifo");
        run(&format!("mkfifo {}", fifo.display()))?;
        for (limit, totals) in
            [("-c 1", "matched 1, printed 1, lost 0"), ("--duration 10ms", "lost 0")]
        {
            let arguments = format!("--attach clsact -i b1 --dir in {limit} -o json udp");
            let script = format!("echo ready >&2; cat {} >&2", fifo.display());
            let tracer = trace(node, &arguments, &script)?;
            heard(node, &tracer, "ready")?;
            send(node, 9, 1, 10)?;
            heard(node, &tracer, totals)?;
            nothing_left()?;
            fs::write(&fifo, "to its end\n")?;
            let traced = tracer.end(node)?;
            ensure!(traced.code == 0 && traced.said.contains("to its end"), "{traced:?}");
        }
        Ok(())
    });
}

#[test]
fn a_second_signal_waits_for_nobody() {
    on_node(|node| {
        cable(node)?;
        let script = "trap '' TERM; echo process $$. >&2; exec sleep 1000";
        let mut tracer = trace(node, "", script)?;
        let said = heard(node, &tracer, ".\n")?;
        let process = said.split("process ").nth(1).and_then(|rest| rest.split('.').next());
        let process = process.context("no process")?.to_owned();
        tracer.signal(Signal::SIGTERM)?;
        heard(node, &tracer, "seen ")?;
        node.eventually("a second signal ends it", SOON, || {
            tracer.signal(Signal::SIGTERM)?;
            Ok(tracer.has_ended()?.then_some(()))
        })?;
        run(&format!("kill -KILL {process}"))?;
        let traced = tracer.end(node)?;
        ensure!(traced.code == 128 + Signal::SIGTERM as i32, "{traced:?}");
        Ok(())
    });
}
