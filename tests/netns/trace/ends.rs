//! How a trace begins and ends.

use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{
    Agent, Node, Totals, Tracer, agent, agent_path, is_emulated, on_node, run, shell, skipped,
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
        let empty = agent("trace --netns host")?;
        ensure!(empty.code == 2 && empty.stderr.contains("is in host"), "{empty:?}");
        for usage in ["--drops --dir in", "-w x -o json", "-c 0", "-s 3"] {
            let refused = agent(&format!("trace {usage}"))?;
            ensure!(refused.code == 2, "{usage}: {refused:?}");
        }
        for format in ["-o json", "-o pcapng", "-w -"] {
            let refused = agent(&format!("trace --resolve {format}"))?;
            ensure!(refused.code == 2 && refused.stderr.contains("--resolve"), "{refused:?}");
            ensure!(refused.stderr.lines().count() == 1, "{refused:?}");
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
        ensure!(lines == 3 && traced.stderr.contains("3 received"), "{traced:?}");
        let failed = agent("trace -- false")?;
        ensure!(failed.stderr.contains("exit status: 1"), "{failed:?}");
        let absent = agent("trace -- no-such-command-here")?;
        ensure!(absent.code == 1 && absent.stderr.contains("no-such-command-here"), "{absent:?}");
        nothing_left()
    });
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "--attach clsact -o json")?;
        send(node, 9, 1, 10)?;
        let traced = tracer.stop(node, Signal::SIGHUP)?;
        ensure!(traced.code == 0 && traced.totals()?.printed > 0, "{traced:?}");
        nothing_left()
    });
}

#[test]
fn whoever_wants_it_to_outlive_the_terminal_is_obeyed() {
    on_node(|node| {
        cable(node)?;
        let mut command = Command::new("sh");
        let agent = agent_path().display();
        let script = format!("trap '' HUP; exec {agent} trace -i b1 --dir in -o json udp");
        command.args(["-c", &script]);
        let tracer = Tracer::spawn(node, command)?;
        tracer.signal(Signal::SIGHUP)?;
        send(node, 9, 3, 10)?;
        let traced = tracer.stop(node, Signal::SIGTERM)?;
        ensure!(traced.code == 0 && traced.json()?.len() == 3, "{traced:?}");
        Ok(())
    });
}

#[test]
fn a_bpffs_that_is_read_only_is_told_with_its_mend() {
    on_node(|node| {
        cable(node)?;
        run("mount -o remount,bind,ro /sys/fs/bpf")?;
        let failed = agent("trace -- true")?;
        let line = failed.stderr.as_str();
        ensure!(failed.code == 1 && line.contains("/sys/fs/bpf/veth-agent: "), "{failed:?}");
        ensure!(line.contains("read-write") && line.contains("--bpffs"), "{failed:?}");
        Ok(())
    });
}

/// Nothing more needs to come for the trace to notice.
#[test]
fn the_last_of_a_count_ends_it() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-c 5 -o json -i b1 --dir in")?;
        send(node, 9, 5, 10)?;
        let traced = tracer.end(node)?;
        ensure!(traced.code == 0 && traced.json()?.len() == 5, "{traced:?}");
        Ok(())
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

fn stop_all(node: &Node, tracers: Vec<Tracer>) -> Result<()> {
    for tracer in tracers {
        let traced = tracer.stop(node, Signal::SIGTERM)?;
        ensure!(traced.code == 0, "{traced:?}");
    }
    Ok(())
}

/// Where there is no TCX, who comes first adds the qdisc, and who goes last takes it along.
#[test]
fn the_last_of_several_takes_the_qdisc_along() {
    on_node(|node| {
        cable(node)?;
        let start = |ways: &[&str]| -> Result<Vec<_>> {
            let each = ways.iter().map(|way| format!("--attach clsact --dir {way} -o json"));
            each.map(|arguments| Tracer::start(node, &arguments)).collect()
        };
        for ways in [["both", "in", "out"], ["in", "out", "both"], ["out", "in", "in"]] {
            let mut tracers = start(&ways)?;
            stop_all(node, tracers.split_off(1))?;
            stop_all(node, tracers)?;
            nothing_left()?;
            stop_all(node, start(&ways)?)?;
            nothing_left()?;
        }
        run("ip netns exec blue tc qdisc add dev b1 clsact")?;
        stop_all(node, start(&["both", "both"])?)?;
        let left = run("ip netns exec blue tc qdisc show dev b1 clsact")?;
        ensure!(left.stdout.contains("clsact"), "{left:?}");
        run("ip netns exec blue tc qdisc del dev b1 clsact")?;
        nothing_left()
    });
}

/// Below a qdisc, a trace that is killed leaves its filters behind.
#[test]
fn what_a_killed_trace_leaves_is_taken_off_with_all_else() {
    on_node(|node| {
        cable(node)?;
        Tracer::start(node, "--attach clsact")?.stop(node, Signal::SIGKILL)?;
        ensure!(nothing_left().is_err(), "the kernel has taken it off by itself");
        let detached = agent("detach --all")?;
        ensure!(detached.code == 0, "{detached:?}");
        nothing_left()
    });
}

#[test]
fn a_trace_and_the_agent_leave_the_qdisc_to_each_other() {
    on_node(|node| {
        cable(node)?;
        let agent_comes = || -> Result<()> {
            let daemon = Agent::start(node, "--attach clsact")?;
            crate::counts::attached(node, ("red", "r1"))?;
            crate::counts::attached(node, ("blue", "b1"))?;
            daemon.stop(node, Signal::SIGTERM)?;
            Ok(())
        };
        let agent_goes = || {
            let detached = agent("detach --all")?;
            ensure!(detached.code == 0, "{detached:?}");
            Ok(())
        };
        let trace_comes = || Tracer::start(node, "--attach clsact -o json");
        for trace_is_first in [true, false] {
            for trace_is_last in [true, false] {
                let mut tracer = if trace_is_first { Some(trace_comes()?) } else { None };
                agent_comes()?;
                let tracer = tracer.take().map_or_else(trace_comes, Ok)?;
                if trace_is_last {
                    // Not what belongs to the trace.
                    agent_goes()?;
                    run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
                }
                let traced = tracer.stop(node, Signal::SIGTERM)?;
                ensure!(!trace_is_last || places(&traced.json()?).len() == 4, "{traced:?}");
                if !trace_is_last {
                    agent_goes()?;
                }
                nothing_left()?;
            }
        }
        Ok(())
    });
}
