//! Packets that are larger than what comes next takes.

use anyhow::{Result, ensure};
use nix::errno::Errno;
use veth_common::{
    counters::Direction::{Rx, Tx},
    mtu::Figure::Oversize,
};
use veth_tests::{
    Agent, Gso, Node, Output, Qdisc, RawFrames, link_stats, mac, on_node, run, try_run,
    udp_frame_of, undisturbed,
};

use super::{DATAPATHS, ENDS, limits, only, pods, redirects_up_to, seen, sees};
use crate::{
    counts::{End, Side, join, quiet},
    fastpath::{By, SOON, Shape, fast_by, pods_by},
};

const PAIR: [End<'_>; 2] = [("orange", "tap1"), ("green", "tap2")];
const ORANGE: Side<'_> = Side { end: PAIR[0], address: "192.168.1.2", index: None };
const GREEN: Side<'_> = Side { end: PAIR[1], address: "192.168.1.3", index: None };
const V4: [[u8; 4]; 2] = [[192, 168, 1, 2], [192, 168, 1, 3]];

const COUNT: u64 = 25;

/// A pair that only `ip` has made, whose `tap2` takes 1,400 bytes.
fn narrow_pair(node: &Node) -> Result<Agent> {
    quiet(node, &["orange", "green"])?;
    join(node, [&ORANGE, &GREEN])?;
    let daemon = Agent::start(node, "")?;
    limits(node, PAIR[0], 0, 1500)?;
    run("ip -n green link set tap2 mtu 1400")?;
    limits(node, PAIR[0], 0, 1400)?;
    limits(node, PAIR[1], 0, 1500)?;
    Ok(daemon)
}

/// Sends so many frames from orange; how many came to green. Where the pair drops one, newer kernels say
/// so, and `ping` would send it again.
fn arrive(node: &Node, frame: &[u8]) -> Result<u64> {
    let _room = undisturbed()?;
    let arrived = || Ok::<_, anyhow::Error>(link_stats(PAIR[1].0, PAIR[1].1)?.rx_packets);
    let before = arrived()?;
    node.within("orange", || {
        let socket = RawFrames::on("tap1", Qdisc::Pass)?;
        (0..COUNT).try_for_each(|_| match socket.send(frame) {
            Err(error) if error.downcast_ref() == Some(&Errno::ENOBUFS) => Ok(()),
            sent => sent,
        })
    })?;
    Ok(arrived()? - before)
}

/// A packet of `bytes` from orange to green, with DF.
fn packet(bytes: u16) -> Result<Vec<u8>> {
    let (to, from) = (mac("green", "tap2")?, mac("orange", "tap1")?);
    Ok(udp_frame_of(14 + bytes, to, from, V4[0], V4[1]))
}

/// Packets of `bytes` are counted as oversize or not, and arrive or not.
fn passes(node: &Node, daemon: &Agent, frame: &[u8], oversize: bool, whole: bool) -> Result<()> {
    let figures = if oversize { only(&[(Oversize(Tx), COUNT)]) } else { only(&[]) };
    sees(node, daemon, PAIR, [figures, only(&[])], || {
        let arrived = arrive(node, frame)?;
        ensure!(arrived == if whole { COUNT } else { 0 }, "{arrived} of {COUNT} arrived");
        Ok(())
    })
}

/// The pair drops them without a word: that nothing reached the sender tells it from a discovery that
/// works.
#[test]
fn what_the_peer_does_not_take_is_counted_where_it_is_sent() {
    on_node(|node| {
        let daemon = narrow_pair(node)?;
        passes(node, &daemon, &packet(1500)?, true, false)?;
        passes(node, &daemon, &packet(1400)?, false, true)?;
        // The pair has room for a tag and does not ask whether there is one.
        passes(node, &daemon, &packet(1404)?, true, true)?;
        passes(node, &daemon, &packet(1405)?, true, false)?;
        run("ip -n green link set tap2 mtu 1500")?;
        limits(node, PAIR[0], 0, 1500)?;
        passes(node, &daemon, &packet(1500)?, false, true)
    });
}

/// A restart counts on, and what was counted lingers when the pair is gone; its name's next bearer begins
/// at zero.
#[test]
fn counts_outlive_the_agent_and_the_pair_but_not_into_the_next() {
    on_node(|node| {
        let mut daemon = narrow_pair(node)?;
        for _ in 0..2 {
            arrive(node, &packet(1500)?)?;
            daemon.kill()?;
            // Without an agent they are counted as well.
            arrive(node, &packet(1500)?)?;
            daemon = Agent::start(node, "")?;
        }
        let counted = only(&[(Oversize(Tx), 4 * COUNT)]);
        ensure!(seen(&daemon.page()?, PAIR[0])? == counted);
        run("ip -n orange link del tap1")?;
        node.eventually("the pair is gone", SOON, || {
            let pairs = daemon.page()?;
            let pairs: f64 = pairs.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum();
            Ok((pairs < 0.5).then_some(()))
        })?;
        ensure!(seen(&daemon.page()?, PAIR[0])? == counted, "it does not linger");
        join(node, [&ORANGE, &GREEN])?;
        limits(node, PAIR[0], 0, 1500)?;
        ensure!(seen(&daemon.page()?, PAIR[0])? == only(&[]));
        Ok(())
    });
}

/// A TCP packet of several segments, as a frame: `size` bytes of payload each behind 40 of headers.
fn segmented(size: u16) -> Result<(Vec<u8>, Gso)> {
    let (to, from) = (mac("green", "tap2")?, mac("orange", "tap1")?);
    let mut frame = udp_frame_of(14 + 40 + 3 * size, to, from, V4[0], V4[1]);
    frame[23] = 6;
    // A header of five words, ACK.
    frame[34..54].fill(0);
    frame[46..48].copy_from_slice(&[0x50, 0x10]);
    // `VIRTIO_NET_HDR_GSO_TCPV4`.
    let gso = Gso { kind: 1, size, headers: 54, checksum_start: 34, checksum_offset: 16 };
    Ok((frame, gso))
}

/// A super-frame is one packet, as large as its segments; the pair itself lets it pass. The kernel has not
/// counted the segments yet where a virtual machine or a packet socket hands it over; we have.
#[test]
fn a_super_frame_is_as_large_as_its_segments() {
    on_node(|node| {
        let daemon = narrow_pair(node)?;
        let _room = undisturbed()?;
        let send = |size| {
            node.within("orange", || {
                let socket = RawFrames::with_gso("tap1")?;
                let (frame, gso) = segmented(size)?;
                (0..COUNT).try_for_each(|_| socket.send_gso(&frame, Some(gso)))
            })
        };
        // At the limit, and one byte above it.
        sees(node, &daemon, PAIR, [only(&[]); 2], || send(1360))?;
        let over = [only(&[(Oversize(Tx), COUNT)]), only(&[])];
        sees(node, &daemon, PAIR, over, || send(1361))?;
        let page = daemon.page()?;
        for (end, direction) in [(PAIR[0], "tx"), (PAIR[1], "rx")] {
            let count = |name: &str| page.count(name, end.0, end.1, direction);
            let counted = (count("veth_agent_packets_total")?, count("veth_agent_segments_total")?);
            ensure!(counted == (2 * COUNT, 3 * 2 * COUNT), "{direction}: {counted:?}");
        }
        Ok(())
    });
}

/// TCP whose receiver promises more than it takes: every packet is judged as the kernel's own rule sees
/// its length ahead of the hook.
#[test]
fn every_packet_of_a_stream_is_judged() {
    on_node(|node| {
        let daemon = narrow_pair(node)?;
        run("ip -n green route replace 192.168.1.0/24 dev tap2 advmss 1460")?;
        let rule = "add table ip t; add chain ip t out { type filter hook output priority 0; }; \
                    add rule ip t out meta length > 1400 counter";
        let inside = "nsenter --net=/run/netns/orange nft";
        run(&format!("{inside} -f {}", node.file("t.nft", rule)?.display()))?;
        let large = || -> Result<u64> {
            let shown = run(&format!("{inside} list chain ip t out"))?.stdout;
            let count = shown.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
            Ok(count.unwrap_or_default().parse()?)
        };
        // A lone segment is too large for the pair: the stream begins, and then may well hang.
        let listen = std::net::TcpListener::bind;
        let listener = node.within("green", || Ok(listen((GREEN.address, 0))?))?;
        let target = listener.local_addr()?;
        let _stream = node.within("orange", || {
            use std::io::Write as _;
            let mut stream = std::net::TcpStream::connect(target)?;
            stream.set_nonblocking(true)?;
            let _ = stream.write(&[0x5a; 1 << 20]);
            Ok(stream)
        })?;
        node.eventually("large packets", SOON, || Ok((large()? >= 3).then_some(())))?;
        node.eventually("each is counted", SOON, || {
            let before = large()?;
            let counted = seen(&daemon.page()?, PAIR[0])?;
            Ok((before == large()? && counted == only(&[(Oversize(Tx), before)])).then_some(()))
        })
    });
}

/// The tag lies in the frame here, and takes room that the device gives it on top.
#[test]
fn a_vlan_tag_does_not_make_a_packet_oversize() {
    on_node(|node| {
        let daemon = narrow_pair(node)?;
        let tagged = |bytes| -> Result<Vec<u8>> {
            let mut frame = packet(bytes)?;
            frame.splice(12..12, [0x81, 0, 0, 5]);
            Ok(frame)
        };
        passes(node, &daemon, &tagged(1500)?, true, false)?;
        passes(node, &daemon, &tagged(1401)?, true, false)?;
        passes(node, &daemon, &tagged(1400)?, false, true)?;
        run("ip -n green link set tap2 mtu 1500")?;
        limits(node, PAIR[0], 0, 1500)?;
        passes(node, &daemon, &tagged(1500)?, false, true)
    });
}

/// Pings of `bytes`, headers included, with DF, from red to blue.
fn pings(bytes: u16) -> Result<Output> {
    let ping = format!("ping -q -c {COUNT} -i 0.01 -W 1 -M do -s {} 10.0.0.3", bytes - 28);
    try_run(&format!("nsenter --net=/run/netns/red {ping}"))
}

/// What comes into a bridge must fit its narrowest other port; the sender's own does not count.
#[test]
fn what_another_port_of_the_bridge_does_not_take_is_counted_where_it_comes_in() {
    for datapath in DATAPATHS {
        on_node(move |node| {
            let daemon = pods(node, Shape::Bridged, datapath)?;
            for (port, limit) in [("r0", 1500), ("b0", 1500)] {
                limits(node, ("host", port), limit, 1500)?;
            }
            run("ip -n blue link set b1 mtu 1400")?;
            run("ip link set b0 mtu 1400")?;
            limits(node, ENDS[1], 1400, 1500)?;
            redirects_up_to(node, "b0", 1400)?;
            let _room = undisturbed()?;
            let none = only(&[]);
            let lost = [none, only(&[(Oversize(Rx), COUNT)]), none, none];
            sees(node, &daemon, ENDS, lost, || {
                ensure!(pings(1500)?.code == 1);
                Ok(())
            })?;
            sees(node, &daemon, ENDS, [none; 4], || {
                ensure!(pings(1400)?.code == 0);
                Ok(())
            })?;
            // A port that nothing is sent to limits what may be flooded to it.
            run("ip -n blue link set b1 mtu 1500")?;
            run("ip link set b0 mtu 1500")?;
            run("ip link add c0 mtu 1300 master br0 type veth peer name c1 mtu 1300 netns blue")?;
            limits(node, ENDS[1], 1300, 1500)?;
            redirects_up_to(node, "b0", 1500)?;
            let both = only(&[(Oversize(Rx), COUNT)]);
            sees(node, &daemon, ENDS, [none, both, both, none], || {
                ensure!(pings(1500)?.code == 0);
                Ok(())
            })
        });
    }
}

/// A packet that the fast path redirects by XDP passes no hook of TC at its near end.
#[test]
fn what_xdp_redirects_is_judged_once() {
    on_node(|node| {
        let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
        fast_by(node, &daemon, By::Xdp)?;
        run("ip link add c0 mtu 1300 master br0 type veth peer name c1 mtu 1300 netns blue")?;
        limits(node, ENDS[1], 1300, 1500)?;
        limits(node, ENDS[2], 1300, 1500)?;
        let _room = undisturbed()?;
        let (none, both) = (only(&[]), only(&[(Oversize(Rx), COUNT)]));
        sees(node, &daemon, ENDS, [none, both, both, none], || {
            ensure!(pings(1500)?.code == 0);
            Ok(())
        })
    });
}
