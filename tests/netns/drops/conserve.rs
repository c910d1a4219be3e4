//! Nothing vanishes: what was sent has arrived or is a drop, to the last packet.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use veth_agent::collect::Stage;
use veth_tests::{Node, alone, bearable, run};

use crate::ledger::{ledgers_balance, ledgers_begin};

use super::{
    BLUE, BLUE_ADDRESS, RED, Reasons, SOON, drops, nft, nft_drop, pair, read, with_reasons,
};

/// Ports of blue.
const READ: u16 = 5001;
const FULL: u16 = 5002;
const FILTERED: u16 = 5003;
const CLOSED: u16 = 5004;

/// Sends as many of each kind, in turn.
fn send_mixed(node: &Node, each: u64) -> Result<()> {
    node.within("red", || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        let (small, large) = ([0x5a; 100], [0x5a; 1472]);
        for _ in 0..each {
            for port in [READ, FULL, FILTERED, CLOSED] {
                socket.send_to(&small, (BLUE_ADDRESS, port))?;
            }
            // Larger than the peer takes; nobody tells the sender.
            let _ = socket.send_to(&large, (BLUE_ADDRESS, READ));
        }
        Ok(())
    })
}

/// Reads a socket until `over` and it is empty.
fn drain(socket: &UdpSocket, over: &AtomicBool) -> Result<u64> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (mut buffer, mut count) = ([0; 2048], 0);
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => count += 1,
            Err(_) if over.load(Ordering::Relaxed) => return Ok(count),
            Err(_) => {}
        }
    }
}

#[test]
fn every_packet_has_arrived_or_is_a_drop() {
    with_reasons(|node| {
        let daemon = pair(node)?;
        run("ip -n blue link set b1 mtu 1400")?;
        nft(node, "blue", &nft_drop("input", FILTERED))?;
        ledgers_begin(node, &daemon, &[RED, BLUE])?;
        let bind = |port| node.within("blue", move || Ok(UdpSocket::bind((BLUE_ADDRESS, port))?));
        let (reading, full) = (bind(READ)?, bind(FULL)?);
        setsockopt(&full, sockopt::RcvBuf, &4096)?;
        let (_alone, over) = (alone()?, AtomicBool::new(false));
        let each = bearable(20_000);
        let delivered = thread::scope(|scope| -> Result<u64> {
            let reader = scope.spawn(|| drain(&reading, &over));
            let sent = send_mixed(node, each);
            over.store(true, Ordering::Relaxed);
            sent?;
            reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?
        })?;
        full.set_nonblocking(true)?;
        let mut buffer = [0; 200];
        let kept = std::iter::from_fn(|| full.recv(&mut buffer).ok()).count() as u64;

        let sum = |reasons: &Reasons| reasons.values().sum::<u64>();
        let (red, blue) = node.eventually("the sums agree", SOON, || {
            let page = daemon.page()?;
            let (red, blue) = (drops(&page, RED), drops(&page, BLUE));
            let total = delivered + kept + sum(&red) + sum(&blue);
            ensure!(total <= 5 * each, "{total} of {}: {red:?} {blue:?}", 5 * each);
            Ok((total == 5 * each).then_some((red, blue)))
        })?;
        let page = daemon.page()?;
        let lost = page.value("veth_agent_events_lost_total", &[("source", "drops")])?;
        ensure!(lost.abs() < 0.5, "{lost} are not counted");
        let by = |reasons: &Reasons, reason: &str| reasons.get(reason).copied().unwrap_or(0);
        assert_eq!(red, Reasons::from([("veth_oversize".to_owned(), each)]));
        // A backlog that is full loses some of each kind.
        let backlog = by(&blue, "cpu_backlog");
        for (reason, sent) in [("netfilter_drop", each), ("no_socket", each)] {
            let counted = by(&blue, reason);
            ensure!((sent - backlog.min(sent)..=sent).contains(&counted), "{reason}: {blue:?}");
        }
        ensure!(by(&blue, "socket_rcvbuff") > 0, "{blue:?}");

        ledgers_balance(node, &daemon, &[RED, BLUE])?;
        // The two hooks differ by what was lost between them, and the drops by
        // end, whose page is the maps'.
        let went = page.count("veth_agent_packets_total", RED.0, RED.1, "tx")?;
        let came = page.count("veth_agent_packets_total", BLUE.0, BLUE.1, "rx")?;
        let (red, blue) = (read(node, RED)?, read(node, BLUE)?);
        let between = red.iter().chain(&blue).filter(|drops| drops.stage != Stage::Elsewhere);
        let between: u64 = between.map(|drops| drops.packets).sum();
        assert_eq!((went, went - came), (5 * each, between), "{red:?} {blue:?}");
        let oversize = red.first().context("no drops")?;
        assert_eq!((oversize.packets, oversize.segments), (each, each));
        ensure!(oversize.symbol.as_deref().is_some_and(|symbol| symbol.contains("forward")));
        Ok(())
    });
}
