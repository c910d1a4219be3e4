//! How a trace begins and ends.

use std::process::Command;

use anyhow::ensure;
use nix::sys::signal::Signal;
use veth_tests::{
    Agent, Totals, Tracer, agent, agent_path, is_emulated, on_node, run, shell, skipped,
    undisturbed,
};

use super::{cable, nothing_left, places, send};

#[test]
fn each_packet_is_seen_once_at_each_hook() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "--dir both -i r1 -i b1 -o json")?;
        ensure!(tracer.said().contains("attached 2 ends"), "{}", tracer.said());
        run("nsenter --net=/run/netns/red ping -q -c 2 -i 0.1 10.0.0.2")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let way = ["red/r1 out", "blue/b1 in", "blue/b1 out", "red/r1 in"];
        ensure!(places(&traced.json()?) == way.repeat(2), "{traced:?}");
        let totals = Totals { seen: 8, matched: 8, printed: 8, lost: 0 };
        ensure!(traced.code == 0 && traced.totals()? == totals, "{traced:?}");
        nothing_left()
    });
}

#[test]
fn names_and_directions_choose() {
    on_node(|node| {
        cable(node)?;
        for (arguments, wanted) in [
            ("-i b1", vec!["blue/b1 in", "blue/b1 out"]),
            ("--netns red", vec!["red/r1 out", "red/r1 in"]),
            ("--netns red --dir in", vec!["red/r1 in"]),
            ("--dir out", vec!["red/r1 out", "blue/b1 out"]),
        ] {
            let tracer = Tracer::start(node, &format!("{arguments} -o json"))?;
            run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
            let traced = tracer.stop(node, Signal::SIGTERM)?;
            ensure!(places(&traced.json()?) == wanted, "{arguments}: {traced:?}");
        }
        for unknown in ["-i b2", "--netns green", "--netns red -i b1"] {
            let refused = agent(&format!("trace {unknown}"))?;
            ensure!(refused.code == 2 && refused.stderr.contains("veth-agent list"), "{refused:?}");
        }
        for usage in ["--drops --dir in", "-w x -o json", "-c 0", "-s 3"] {
            let refused = agent(&format!("trace {usage}"))?;
            ensure!(refused.code == 2, "{usage}: {refused:?}");
        }
        nothing_left()
    });
}

#[test]
fn a_count_is_exact_however_many_come() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-c 5 -o json -i b1 --dir in")?;
        let _room = undisturbed()?;
        send(node, 9, 500, 10)?;
        let traced = tracer.end(node)?;
        let totals = Totals { seen: 5, matched: 5, printed: 5, lost: 0 };
        ensure!(traced.code == 0 && traced.totals()? == totals, "{traced:?}");
        ensure!(traced.json()?.len() == 5, "{traced:?}");
        Ok(())
    });
}

#[test]
fn a_command_is_traced_while_it_runs() {
    on_node(|node| {
        cable(node)?;
        let ping = "nsenter --net=/run/netns/red ping -q -c 3 -i 0.1 10.0.0.2";
        let traced = agent(&format!("trace -i b1 --dir in -o json -- {ping}"))?;
        ensure!(traced.code == 0, "{traced:?}");
        let lines = traced.stdout.lines().filter(|line| line.starts_with('{')).count();
        ensure!(lines == 3 && traced.stdout.contains("3 received"), "{traced:?}");
        let failed = agent("trace -- false")?;
        ensure!(failed.stderr.contains("exit status: 1"), "{failed:?}");
        let absent = agent("trace -- no-such-command-here")?;
        ensure!(absent.code == 1 && absent.stderr.contains("no-such-command-here"), "{absent:?}");
        nothing_left()
    });
}

/// A reader that has seen enough; nothing more needs to come for the trace to notice.
#[test]
fn a_closed_pipe_ends_it() {
    on_node(|node| {
        cable(node)?;
        let mut command = Command::new("sh");
        let agent = agent_path().display();
        command.args(["-c", &format!("{agent} trace -o json -i b1 | head -1")]);
        let tracer = Tracer::spawn(node, command)?;
        send(node, 9, 1, 10)?;
        let traced = tracer.end(node)?;
        ensure!(traced.json()?.len() == 1, "{traced:?}");
        ensure!(traced.said.contains("seen ") && !traced.said.contains("error"), "{traced:?}");
        nothing_left()
    });
}

/// What `-w -` writes goes into other people's tools.
#[test]
fn tshark_reads_it_from_a_pipe() {
    if is_emulated() {
        // It would be larger than all else there.
        return skipped("tshark in its image");
    }
    on_node(|node| {
        cable(node)?;
        let agent = agent_path().display();
        let fields = "-T fields -e frame.interface_name -e icmp.type -e icmp.seq";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{agent} trace -w - -c 4 icmp | tshark -i - -c 4 {fields}")]);
        let tracer = Tracer::spawn(node, command)?;
        run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
        let traced = tracer.end(node)?;
        let told = String::from_utf8(traced.out.clone())?;
        let wanted = "red/r1\t8\t1\nblue/b1\t8\t1\nblue/b1\t0\t1\nred/r1\t0\t1\n";
        ensure!(told == wanted, "{traced:?}");
        Ok(())
    });
}

#[test]
fn a_full_disk_is_told_and_nothing_stays() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-w /dev/full");
        // The file's header alone may be refused.
        let said = match tracer {
            Ok(tracer) => {
                send(node, 9, 100, 10)?;
                let traced = tracer.end(node)?;
                ensure!(traced.code == 1, "{traced:?}");
                traced.said
            }
            Err(error) => error.to_string(),
        };
        ensure!(said.contains("/dev/full: No space left on device"), "{said}");
        nothing_left()
    });
}

#[test]
fn a_namespace_that_goes_away_ends_nothing() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-o json")?;
        send(node, 9, 1, 10)?;
        run("ip netns del blue")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        ensure!(traced.code == 0 && traced.totals()?.lost == 0, "{traced:?}");
        ensure!(places(&traced.json()?).contains(&"blue/b1 in".to_owned()), "{traced:?}");
        Ok(())
    });
}

/// Beside the daemon, whose programs stay, and beside another trace.
#[test]
fn several_at_once_see_the_same() {
    on_node(|node| {
        cable(node)?;
        let daemon = Agent::start(node, "")?;
        let one = Tracer::start(node, "-o json -i b1")?;
        let other = Tracer::start(node, "-o json -i b1")?;
        run("nsenter --net=/run/netns/red ping -q -c 3 -i 0.1 10.0.0.2")?;
        let one = one.stop(node, Signal::SIGINT)?;
        run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
        let other = other.stop(node, Signal::SIGINT)?;
        ensure!(one.totals()?.printed == 6 && other.totals()?.printed == 8, "{one:?} {other:?}");
        let status = agent("status -o json")?;
        ensure!(!status.stdout.contains("va_trace"), "{status:?}");
        let found = agent("doctor")?;
        ensure!(found.code == 0, "{found:?}");
        drop(daemon);
        Ok(())
    });
}

/// While one runs, nobody is told that a stranger's program is ahead.
#[test]
fn it_is_no_stranger_to_the_doctor() {
    on_node(|node| {
        cable(node)?;
        let _daemon = Agent::start(node, "")?;
        let tracer = Tracer::start(node, "-o json")?;
        let found = agent("doctor")?;
        ensure!(found.code == 0, "{found:?}");
        tracer.stop(node, Signal::SIGINT)?;
        let left = shell("bpftool prog show | grep va_trace_x || true")?;
        ensure!(left.stdout.is_empty(), "{left:?}");
        Ok(())
    });
}
