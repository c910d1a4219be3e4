//! What does not come through is counted.

use std::{net::UdpSocket, num::NonZeroUsize, os::fd::AsFd as _, time::Duration};

use anyhow::{Result, ensure};
use aya::maps::MapInfo;
use nix::sys::{
    mman::{MapFlags, ProtFlags, mmap, munmap},
    signal::Signal,
};
use veth_tests::{Tracer, alone, link_stats, on_node, shell};

use super::{cable, send};

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

/// Bytes that were ever reserved in the rings of the only trace of this node: `BPF_RB_PROD_POS`, which the
/// kernel shows in the second page of a ring (`kernel/bpf/ringbuf.c`).
fn reserved() -> Result<u64> {
    let mut sum = 0;
    for map in rings()? {
        let fd = MapInfo::from_id(map)?.fd()?;
        let page = NonZeroUsize::MIN.saturating_add(4095);
        // SAFETY: a new mapping of one page, of which the first word is read before it ends; the kernel
        // writes whole words.
        sum += unsafe {
            let at =
                mmap(None, page, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, fd.as_fd(), 4096)?;
            let position = at.cast::<u64>().read_volatile();
            munmap(at, page.get())?;
            position
        };
    }
    Ok(sum)
}

/// Ids of the rings, as the trace's process holds them.
fn rings() -> Result<Vec<u32>> {
    let script = "for p in $(grep -lx veth-agent /proc/[0-9]*/comm); do \
                  grep -l '^map_type:.27$' ${p%comm}fdinfo/* | while read f; do grep '^map_id' $f; done; done";
    let found = shell(script)?.stdout;
    let ids = found.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
    let ids: Vec<u32> = ids.collect();
    ensure!(!ids.is_empty(), "no rings: {found}");
    Ok(ids)
}

#[test]
fn what_does_not_match_reserves_nothing() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-o json -i b1 --dir in udp port 5001")?;
        send(node, 5002, 10_000, 100)?;
        ensure!(reserved()? == 0, "{} bytes", reserved()?);
        send(node, 5001, 1, 100)?;
        ensure!(reserved()? > 0);
        let totals = tracer.stop(node, Signal::SIGINT)?.totals()?;
        ensure!(totals.seen >= 10_001 && totals.matched == 1 && totals.printed == 1, "{totals:?}");
        Ok(())
    });
}
