//! The same packets as tcpdump's, byte for byte.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{
    Capture, Node, Qdisc, RawFrames, Tracer, frame, mac, on_node, on_one_cpu, run, shell, tcp_bulk,
    udp_frame_of,
};

use super::{cable, pcap::frames_of};

/// Protocols of the frames ahead of all that are compared, and behind them.
const FIRST: u16 = 0x88b6;
const LAST: u16 = 0x88b5;

const SOON: Duration = Duration::from_secs(20);

/// As many bytes of a frame as tcpdump is told to take.
const SNAPLEN: u32 = 32_768;

const SIX: [(&str, &str, &str); 2] = [("red", "r1", "fd00::1"), ("blue", "b1", "fd00::2")];

/// IPv6 addresses beside those of IPv4, and neighbours that have to be asked for.
fn speak_six(node: &Node) -> Result<()> {
    for (netns, end, address) in SIX {
        run(&format!(
            "nsenter --net=/run/netns/{netns} sysctl -qw net.ipv6.conf.{end}.disable_ipv6=0"
        ))?;
        run(&format!("ip -n {netns} addr add {address}/64 dev {end} nodad"))?;
        run(&format!("ip -n {netns} neighbour flush dev {end} nud permanent"))?;
    }
    node.eventually("an answer over IPv6", SOON, || {
        let ping = shell("nsenter --net=/run/netns/red ping -q -c 1 -W 1 fd00::2")?;
        Ok((ping.code == 0).then_some(()))
    })?;
    run("ip -n red neighbour flush dev r1")?;
    run("ip -n blue neighbour flush dev b1")?;
    Ok(())
}

/// Frames of all kinds, one way; their last bytes say which way.
fn send_raw(node: &Node, [from, to]: [(&str, &str, u8); 2]) -> Result<()> {
    let macs = (mac(to.0, to.1)?, mac(from.0, from.1)?);
    let interface = from.1.to_owned();
    node.within(from.0, move || {
        let raw = RawFrames::on(&interface, Qdisc::Pass)?;
        let (source, target) = ([10, 0, 0, from.2], [10, 0, 0, to.2]);
        for round in 0..20_u8 {
            for length in [60, 128, 200, 1000, 1514] {
                raw.send(&udp_frame_of(length, macs.0, macs.1, source, target))?;
            }
            // ARP, IPv6, a VLAN tag, two of them, something unknown.
            for protocol in [0x0806, 0x86dd, 0x8100, 0x88a8, 0x1234] {
                raw.send(&frame(protocol, &[round; 40], 80))?;
            }
        }
        Ok(())
    })
}

/// Sends one each way.
fn send_mark(node: &Node, protocol: u16) -> Result<()> {
    for (netns, end) in [("red", "r1"), ("blue", "b1")] {
        let mark = frame(protocol, &[1; 46], 60);
        node.within(netns, move || RawFrames::on(end, Qdisc::Pass)?.send(&mark))?;
    }
    Ok(())
}

fn is(frame: &[u8], protocol: u16) -> bool {
    frame.get(12..14) == Some(&protocol.to_be_bytes())
}

fn shown(frame: &[u8]) -> String {
    format!("{} bytes {:02x?}", frame.len(), frame.get(..66).unwrap_or(frame))
}

/// Those between the marks.
fn between(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let behind = frames.into_iter().skip_while(|frame| !is(frame, FIRST));
    behind.take_while(|frame| !is(frame, LAST)).collect()
}

fn talk(node: &Node) -> Result<()> {
    let (red, blue) = (("red", "r1", 1), ("blue", "b1", 2));
    send_mark(node, FIRST)?;
    send_raw(node, [red, blue])?;
    send_raw(node, [blue, red])?;
    // Whole, in fragments, and to a port that is closed.
    for target in ["10.0.0.2", "fd00::2"] {
        for bytes in [56, 4000] {
            let ping = format!("ping -q -c 2 -i 0.1 -s {bytes} {target}");
            run(&format!("nsenter --net=/run/netns/red {ping}"))?;
        }
    }
    node.within("red", || {
        for (own, target) in [("10.0.0.1:0", "10.0.0.2:9"), ("[fd00::1]:0", "[fd00::2]:9")] {
            UdpSocket::bind(own)?.send_to(&[9; 200], target)?;
        }
        Ok(())
    })?;
    tcp_bulk(node, ("red", "10.0.0.1"), ("blue", "10.0.0.2"), 300_000)?;
    tcp_bulk(node, ("blue", "fd00::2"), ("red", "fd00::1"), 300_000)?;
    send_mark(node, LAST)
}

/// Packets of each kind must have been there, or all this shows little.
fn has_all_kinds(frames: &[Vec<u8>]) -> Result<()> {
    let of = |protocol: [u8; 2], at: usize, inner: u8| {
        frames.iter().any(|it| it.get(12..14) == Some(&protocol[..]) && it.get(at) == Some(&inner))
    };
    let (four, six) = ([8, 0], [0x86, 0xdd]);
    for (kind, is_there) in [
        ("answers of ARP", of([8, 6], 21, 2)),
        ("ICMP", of(four, 23, 1)),
        ("TCP", of(four, 23, 6)),
        ("UDP", of(four, 23, 17)),
        ("fragments", of(four, 20, 0x20)),
        ("ICMPv6", of(six, 20, 58)),
        ("TCP over IPv6", of(six, 20, 6)),
        ("fragments of IPv6", of(six, 20, 44)),
        ("VLAN", of([0x81, 0], 14, 0)),
    ] {
        ensure!(is_there, "no {kind}");
    }
    Ok(())
}

#[test]
fn a_capture_is_tcpdumps_in_each_direction() {
    on_node(|node| {
        on_one_cpu()?;
        cable(node)?;
        speak_six(node)?;
        let tcpdumps = [Capture::start("blue", "b1")?, Capture::leaving("blue", "b1")?];
        let ways = ["in", "out"];
        let file = |way: &str| node.scratch().join(format!("{way}.pcapng"));
        let start = |way: &str| {
            let file = file(way);
            let options = format!("-i b1 --dir {way} -s {SNAPLEN} -w {}", file.display());
            Tracer::start(node, &options)
        };
        let tracers = ways.iter().map(|way| start(way)).collect::<Result<Vec<_>>>()?;
        talk(node)?;
        let theirs = tcpdumps.iter().map(|tcpdump| {
            let frames = tcpdump.until(|frame| is(frame, LAST), SOON);
            frames.map(between).context("tcpdump")
        });
        let theirs = theirs.collect::<Result<Vec<_>>>()?;
        for tracer in tracers {
            let traced = tracer.stop(node, Signal::SIGINT)?;
            ensure!(traced.code == 0 && traced.totals()?.lost == 0, "{traced:?}");
        }
        for (way, theirs) in ways.iter().zip(&theirs) {
            has_all_kinds(theirs).context(*way)?;
            let ours = between(frames_of(&file(way))?);
            ensure!(ours.len() == theirs.len(), "{way}: {} of {}", ours.len(), theirs.len());
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                ensure!(ours == theirs, "{way} {at}: {}, not {}", shown(ours), shown(theirs));
            }
        }
        Ok(())
    });
}
