//! What the kernel lets through is what `tcpdump -r capture EXPR` does.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::preflight::Feature;
use veth_tests::{
    Capture, Node, Qdisc, RawFrames, Tracer, agent, frame, is_emulated, lacks, on_node,
};

use super::{
    cable, mix, nothing_left,
    pcap::{frames_of, write_pcap},
    send,
};

/// From simple to nasty.
const EXPRESSIONS: &[&str] = &[
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "sctp",
    "igmp",
    "not ip",
    "not (ip or ip6)",
    "tcp port 80",
    "tcp dst port 80",
    "udp src port 53",
    "port 53",
    "not port 80 and tcp",
    "portrange 5000-6000",
    "tcp src portrange 79-443",
    "not portrange 1-1023",
    "host 10.0.0.1",
    "src host 10.0.0.2",
    "dst host 10.0.0.2 and not udp",
    "host fe80::1",
    "net 10.0.0.0/24",
    "net 10.0.0.0 mask 255.255.255.254",
    "src net 10.0.0.0/31 and not dst net 10.0.0.2/32",
    "ip6 net ff02::/16",
    "ether host 02:00:00:00:00:0a",
    "ether dst 02:00:00:00:00:0b and not ip",
    "ether broadcast",
    "ether multicast",
    "multicast",
    "ip multicast",
    "ip6 multicast",
    "ether proto 0x1234",
    "ip proto \\tcp",
    "ip proto 47",
    "ip6 proto 17",
    "ip6 proto 44",
    "less 60",
    "greater 1000",
    "len > 100 and len <= 942",
    "len - 14 = ip[2:2]",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff != 0",
    "ip[6] & 0x20 != 0 and ip[6:2] & 0x1fff = 0",
    "ip[8] < 64",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
    "tcp[tcpflags] == tcp-syn",
    "tcp[13] & 8 != 0 and tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0",
    "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 4",
    "icmp6[icmp6type] == icmp6-neighborsolicit",
    "udp[4:2] > 108",
    "udp[8:4] = 0x55555555",
    "ip[50:4] = 0x55555555 and udp",
    "ether[1000] = 0x55",
    "ether[10:4] = 0x000a0800",
    "ether[9:4] = 0x00000a81",
    "ether[12:4] = 0x81000005",
    "vlan",
    "vlan 5",
    "not vlan",
    "vlan 5 and tcp",
    "vlan and vlan 5",
    "vlan 7 and vlan and udp port 80",
    "vlan and (ip6 or arp)",
    "(vlan 5 and ip) or (ip and not tcp)",
    "mpls",
    "pppoes",
    "pppoes 7 and ip",
    "llc",
    "stp",
    "ip[(ip[0] & 0xf) * 4] / 3 = 5",
    "ip[9] % 5 = 1 and not (port 80 or port 443)",
    "60 / (ip[9] - 6) = 5",
    "(ip[8] << ip[9]) & 0x40 != 0",
    "ip[8] >> (ip[9] - 1) = 61",
    "ip[2:2] ^ 0x12 > 40",
    "(-ip[8]) = 0xffffffc3",
    "not (tcp or udp) and not (ip6 and not (icmp6 or ip6 proto 59))",
    "tcp and not (src port 80 and not (dst port 4000 and tcp[13] = 2)) and len > 60",
    "port 80 or port 443 or port 8080 or port 22 or port 53 or host 10.0.0.9 or net 192.168.0.0/16",
];

/// More than so many programs do not go on a hook at once (`BPF_MPROG_MAX`).
const AT_ONCE: usize = 30;

/// So many frames tcpdump has room for.
const IN_FLIGHT: usize = 200;

/// What tells that all have come.
const LAST: u16 = 0x88b5;

fn is_last(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&LAST.to_be_bytes())
}

/// Sends the frames, and gives those that tcpdump has seen arrive.
fn replay(node: &Node, frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let tcpdump = Capture::start("blue", "b1")?;
    let mut arrived = Vec::new();
    for frames in frames.chunks(IN_FLIGHT) {
        let frames = frames.to_vec();
        node.within("red", move || {
            let raw = RawFrames::on("r1", Qdisc::Pass)?;
            frames.iter().try_for_each(|frame| raw.send(frame))?;
            raw.send(&frame(LAST, &[1; 46], 60))
        })?;
        arrived.extend(tcpdump.until(is_last, Duration::from_secs(30))?);
    }
    Ok(arrived)
}

fn by_tcpdump(capture: &Path, expression: &str) -> Result<Vec<Vec<u8>>> {
    let out = capture.with_extension("out");
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-Z", "root"]).arg("-r").arg(capture).arg("-w").arg(&out).arg(expression);
    let done = tcpdump.output().context("tcpdump")?;
    ensure!(done.status.success(), "{expression}: {done:?}");
    frames_of(&out)
}

fn compare(node: &Node, expressions: &[&str], frames: &[Vec<u8>]) -> Result<Vec<usize>> {
    let file = |at: usize| node.scratch().join(format!("{at}.pcapng"));
    let start = |(at, expression): (usize, &&str)| {
        let options = format!("-i b1 --dir in -s 65535 -w {}", file(at).display());
        Tracer::start(node, &format!("{options} {expression}"))
    };
    let tracers = expressions.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let arrived = replay(node, frames)?;
    let capture = node.scratch().join("arrived.pcap");
    write_pcap(&capture, &arrived)?;
    let mut matched = Vec::new();
    for (at, (tracer, expression)) in tracers.into_iter().zip(expressions).enumerate() {
        let traced = tracer.stop(node, Signal::SIGINT)?;
        ensure!(traced.code == 0 && traced.totals()?.lost == 0, "{expression}: {traced:?}");
        let mut ours = frames_of(&file(at))?;
        ours.retain(|frame| !is_last(frame));
        let theirs = by_tcpdump(&capture, expression)?;
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            ensure!(ours == theirs, "{expression}: {number}: {ours:02x?}, tcpdump {theirs:02x?}");
        }
        ensure!(ours.len() == theirs.len(), "{expression}: {} of {}", ours.len(), theirs.len());
        matched.push(ours.len());
    }
    Ok(matched)
}

#[test]
fn the_kernel_agrees_with_tcpdump() {
    on_node(|node| {
        cable(node)?;
        let frames = mix::frames();
        ensure!(frames.len() > 500, "{} frames", frames.len());
        // An emulated machine takes minutes to start so many; other verifiers are seen to take some of each kind.
        let each = if is_emulated() { 4 } else { 1 };
        let chosen: Vec<_> = EXPRESSIONS.iter().copied().step_by(each).collect();
        for expressions in chosen.chunks(AT_ONCE) {
            let matched = compare(node, expressions, &frames)?;
            // An expression that takes nothing, or all, tells nothing of the filter.
            for (expression, matched) in expressions.iter().zip(matched) {
                ensure!(0 < matched && matched < frames.len(), "{expression}: {matched}");
            }
        }
        nothing_left()
    });
}

#[test]
fn what_is_no_filter_is_told_in_libpcaps_words() {
    on_node(|node| {
        cable(node)?;
        for (expression, words) in [
            ("tcp prot 80", "can't parse filter expression: syntax error"),
            ("host no.such.host.invalid", "unknown host 'no.such.host.invalid'"),
            ("port 70000", "illegal port number 70000 > 65535"),
            ("tcp and udp", "expression rejects all packets"),
            ("ip6 protochain 6", "needs a loop"),
            ("inbound and tcp", "use --dir"),
        ] {
            let refused = agent(&format!("trace {expression}"))?;
            let told = refused.stderr.contains(words) && refused.stderr.lines().count() == 1;
            ensure!(refused.code == 2 && told && refused.stdout.is_empty(), "{refused:?}");
        }
        let mut long = "host 10.9.0.1".to_owned();
        (2..200).for_each(|host| long.push_str(&format!(" or port {host} or host 10.9.9.{host}")));
        let refused = agent(&format!("trace {long}"))?;
        ensure!(refused.code == 2 && refused.stderr.contains("too long"), "{refused:?}");
        nothing_left()
    });
}

/// The same filter for what the kernel drops, where it has to look into its own memory.
#[test]
fn drops_are_filtered() {
    if lacks(Feature::DropReasons) {
        return;
    }
    on_node(|node| {
        cable(node)?;
        for (expression, wanted) in [
            ("udp dst port 5002", 3),
            ("udp and not port 5002", 5),
            ("ether proto 0x0800 and greater 500", 3),
            ("udp[8:4] = 0x07070707", 8),
            ("tcp", 0),
        ] {
            let tracer = Tracer::start(node, &format!("--drops -o json {expression}"))?;
            send(node, 5001, 5, 100)?;
            send(node, 5002, 3, 1000)?;
            let traced = tracer.stop(node, Signal::SIGINT)?;
            let totals = traced.totals()?;
            ensure!(traced.json()?.len() == wanted, "{expression}: {traced:?}");
            ensure!(
                totals.matched == wanted as u64 && totals.seen >= 8,
                "{expression}: {totals:?}"
            );
        }
        Ok(())
    });
}
