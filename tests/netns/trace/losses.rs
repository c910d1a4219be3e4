//! What does not come through is counted.

use std::{net::UdpSocket, time::Duration};

use anyhow::ensure;
use nix::sys::signal::Signal;
use veth_tests::{Tracer, alone, link_stats, on_node};

use super::cable;

/// Enough to fill any ring several times.
const PACKETS: u64 = 400_000;

/// A reader that sleeps in the middle of a flood: what it misses is counted to the packet, and the packets
/// themselves go their way.
#[test]
fn a_reader_that_sleeps_loses_what_is_counted_and_no_packet() {
    on_node(|node| {
        cable(node)?;
        let _alone = alone()?;
        let before = link_stats("blue", "b1")?.rx_packets;
        let tracer = Tracer::start(node, "-w /dev/null -i b1 --dir in --strict")?;
        tracer.signal(Signal::SIGSTOP)?;
        node.within("red", || {
            let socket = UdpSocket::bind("10.0.0.1:0")?;
            socket.connect("10.0.0.2:9")?;
            // The port is closed, which the next call is told.
            (0..PACKETS).for_each(|_| drop(socket.send(&[7; 10])));
            Ok(())
        })?;
        std::thread::sleep(Duration::from_secs(2));
        tracer.signal(Signal::SIGCONT)?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let totals = traced.totals()?;
        let arrived = link_stats("blue", "b1")?.rx_packets - before;
        ensure!(arrived > PACKETS / 2, "{arrived} of {PACKETS} arrived");
        ensure!(totals.seen == arrived && totals.matched == arrived, "{totals:?} of {arrived}");
        ensure!(totals.lost > 0 && totals.printed > 0, "{totals:?}");
        ensure!(totals.matched == totals.printed + totals.lost, "{totals:?}");
        ensure!(traced.code == 4, "{traced:?}");
        Ok(())
    });
}
