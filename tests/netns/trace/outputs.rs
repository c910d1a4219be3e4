//! Where packets go, and readers that come late, leave, or do not read.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::{libc::O_NONBLOCK, sys::signal::Signal, sys::stat::Mode, unistd::mkfifo};
use veth_tests::{Node, Tracer, agent, agent_path, on_node, patient};

use super::{cable, nothing_left, send};

/// A trace that nobody reads ends within this.
const SOON: Duration = Duration::from_secs(1);

fn fifo(node: &Node) -> Result<PathBuf> {
    let path = node.scratch().join("fifo");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Ok(path)
}

/// What was not written, as it says.
fn unwritten(said: &str) -> u64 {
    let digits = said.split_once("unwritten ").map_or("", |(_, rest)| rest.trim_start());
    digits.split(|it: char| !it.is_ascii_digit()).next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

#[test]
fn what_is_refused_leaves_the_file_as_it_was() {
    on_node(|node| {
        cable(node)?;
        let file = node.file("precious", "precious")?;
        let mut long = "host 10.9.0.1".to_owned();
        (2..200).for_each(|host| long.push_str(&format!(" or port {host} or host 10.9.9.{host}")));
        for bad in ["-i nosuch", "--netns nosuch", "--resolve", "-o json", "not a filter", &long] {
            let refused = agent(&format!("trace -w {} {bad}", file.display()))?;
            ensure!(refused.code == 2, "{refused:?}");
            ensure!(fs::read_to_string(&file)? == "precious", "{bad} emptied the file");
        }
        nothing_left()
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_told_and_nothing_stays() {
    on_node(|node| {
        cable(node)?;
        let failed = agent("trace --attach clsact -w /nosuch/packets -- true")?;
        let told = "/nosuch/packets: No such file or directory";
        ensure!(failed.code == 1 && failed.stderr.contains(told), "{failed:?}");
        nothing_left()
    });
}

#[test]
fn a_named_pipe_without_a_reader_holds_nothing_up() {
    on_node(|node| {
        cable(node)?;
        let fifo = fifo(node)?;
        let arguments = format!("--attach clsact --dir out -w {} udp", fifo.display());
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let tracer = Tracer::start(node, &arguments)?;
            send(node, 9, 1, 10)?;
            let asked = Instant::now();
            let traced = tracer.stop(node, signal)?;
            ensure!(asked.elapsed() < patient(SOON), "{signal}: {:?}", asked.elapsed());
            ensure!(traced.code == 1 && traced.totals()?.printed == 0, "{traced:?}");
            ensure!(traced.said.contains("fifo: 1 packet was not written"), "{traced:?}");
            nothing_left()?;
        }
        let over = agent(&format!("trace --duration 10ms -w {} -- false", fifo.display()))?;
        ensure!(over.code == 0 && !over.stderr.contains("command"), "{over:?}");
        Ok(())
    });
}

#[test]
fn a_named_pipe_is_written_once_it_has_a_reader() {
    on_node(|node| {
        cable(node)?;
        let fifo = fifo(node)?;
        let tracer = Tracer::start(node, &format!("-c 1 -w {} udp", fifo.display()))?;
        send(node, 9, 1, 10)?;
        let packets = fs::read(&fifo)?;
        let traced = tracer.end(node)?;
        ensure!(traced.code == 0 && traced.totals()?.printed == 1, "{traced:?}");
        ensure!(packets.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "{packets:?}");
        Ok(())
    });
}

#[test]
fn a_named_pipe_whose_reader_leaves_ends_it() {
    on_node(|node| {
        cable(node)?;
        let fifo = fifo(node)?;
        let tracer = Tracer::start(node, &format!("-w {}", fifo.display()))?;
        // Once the file's header has come, it has opened the pipe.
        File::open(&fifo)?.read_exact(&mut [0; 4])?;
        let traced = tracer.end(node)?;
        ensure!(traced.code == 0 && traced.said.contains("seen "), "{traced:?}");
        nothing_left()
    });
}

/// As many lines arrive as it says that it has printed, each whole, and what did not is told.
#[test]
fn a_reader_that_does_not_read_keeps_no_trace_alive() {
    on_node(|node| {
        cable(node)?;
        let fifo = fifo(node)?;
        let mut reader = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(&fifo)?;
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut command = Command::new("sh");
            let (agent, fifo) = (agent_path().display(), fifo.display());
            let script = format!("exec {agent} trace --attach clsact -i b1 --dir in udp > {fifo}");
            command.args(["-c", &script]);
            let tracer = Tracer::spawn(node, command)?;
            send(node, 9, 3000, 20)?;
            let asked = Instant::now();
            let traced = tracer.stop(node, signal)?;
            ensure!(asked.elapsed() < patient(SOON), "{signal}: {:?}", asked.elapsed());
            nothing_left()?;

            let (totals, unwritten) = (traced.totals()?, unwritten(&traced.said));
            ensure!(traced.code == 1 && totals.matched == 3000 && unwritten > 0, "{traced:?}");
            ensure!(totals.printed + totals.lost + unwritten == 3000, "{traced:?}");
            let told = format!("standard output: {unwritten} packets were not written");
            ensure!(traced.said.contains(&told), "{traced:?}");
            let mut arrived = String::new();
            reader.read_to_string(&mut arrived)?;
            ensure!(arrived.lines().count() as u64 == totals.printed, "{traced:?}");
            ensure!(arrived.ends_with('\n'), "{arrived}");
        }
        Ok(())
    });
}
