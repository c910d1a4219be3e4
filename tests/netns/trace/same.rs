//! The same packets as tcpdump's, byte for byte.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use std::time::Duration;
use veth_tests::{Capture, Node, Qdisc, RawFrames, Tracer, frame, mac, on_node, run, udp_frame_of};

use super::{cable, pcap::frames_of};

/// What tells that all have come.
const LAST: u16 = 0x88b5;

fn send_mix(node: &Node) -> Result<()> {
    let (to, from) = (mac("blue", "b1")?, mac("red", "r1")?);
    node.within("red", || {
        let raw = RawFrames::on("r1", Qdisc::Pass)?;
        for round in 0..20_u8 {
            for length in [60, 128, 200, 1000, 1514] {
                raw.send(&udp_frame_of(length, to, from, [10, 0, 0, 1], [10, 0, 0, 2]))?;
            }
            // ARP, IPv6, a VLAN tag, two of them, something unknown.
            for protocol in [0x0806, 0x86dd, 0x8100, 0x88a8, 0x1234] {
                raw.send(&frame(protocol, &[round; 40], 80))?;
            }
        }
        Ok(())
    })?;
    run("nsenter --net=/run/netns/red ping -q -c 2 -i 0.1 -s 4000 10.0.0.2")?;
    node.within("red", || RawFrames::on("r1", Qdisc::Pass)?.send(&frame(LAST, &[1; 46], 60)))
}

#[test]
fn a_capture_is_tcpdumps() {
    on_node(|node| {
        cable(node)?;
        let file = node.scratch().join("trace.pcapng");
        let tcpdump = Capture::start("blue", "b1")?;
        let tracer =
            Tracer::start(node, &format!("-i b1 --dir in -s 65535 -w {}", file.display()))?;
        send_mix(node)?;
        let is_last = |frame: &[u8]| frame.get(12..14) == Some(&LAST.to_be_bytes()[..]);
        let theirs = tcpdump.until(is_last, Duration::from_secs(20))?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        ensure!(traced.code == 0 && traced.totals()?.lost == 0, "{traced:?}");
        let ours = frames_of(&file)?;
        let ours: Vec<_> = ours.into_iter().take_while(|frame| !is_last(frame)).collect();
        ensure!(theirs.len() > 200, "{} frames", theirs.len());
        ensure!(ours.len() == theirs.len(), "{} of {} frames", ours.len(), theirs.len());
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            ensure!(ours == theirs, "frame {at}: {ours:02x?}, tcpdump has {theirs:02x?}");
        }
        Ok(())
    });
}
