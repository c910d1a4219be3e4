//! Where our counters and the device's must differ, and by how much. We count what the stack hands
//! over at the TC hooks; the device counts what it does behind them.

use anyhow::{Result, ensure};
use veth_common::counters::Counters;
use veth_tests::{
    Agent, Node, Qdisc, RawFrames, XdpPass, frame, on_node, run, tcp_bulk, undisturbed,
};

use crate::counts::{End, Reading, Side, assert_equal, at_rest, attached, inside, join, quiet};

const ENDS: [End<'_>; 2] = [("orange", "tap1"), ("green", "tap2")];
const ORANGE: Side<'_> = Side { end: ENDS[0], address: "192.168.1.2", index: None };
const GREEN: Side<'_> = Side { end: ENDS[1], address: "192.168.1.3", index: None };

const ETHERNET: u64 = 14;
/// Ethernet, IPv4, TCP with time stamps: what each segment of a stream repeats.
const HEADERS: u64 = ETHERNET + 20 + 32;
/// For local experiments (IEEE 802): no stack takes these frames.
const EXPERIMENT: u16 = 0x88b5;
const VLAN: u16 = 0x8100;

/// Sends `traffic` from `tap1` to `tap2` after `prepare`, and checks what each end made of it.
fn relation<T: 'static>(
    prepare: fn(&Node) -> Result<T>,
    traffic: fn(&Node) -> Result<()>,
    check: fn(sender: Reading, receiver: Reading) -> Result<()>,
) {
    on_node(move |node| {
        quiet(node, &["orange", "green"])?;
        join(node, [&ORANGE, &GREEN])?;
        let daemon = Agent::start(node, "")?;
        for end in ENDS {
            attached(node, end)?;
        }
        let _kept = prepare(node)?;
        let before = at_rest(node, &daemon, ENDS)?;
        traffic(node)?;
        let after = at_rest(node, &daemon, ENDS)?;
        check(after[0].since(before[0]), after[1].since(before[1]))
    });
}

fn offload((netns, interface): End<'_>, setting: &str) -> Result<()> {
    inside(netns, &format!("ethtool -K {interface} {setting}"))?;
    Ok(())
}

/// A stream whose window is small enough for the queues between the ends (NAPI's holds 256 frames,
/// `VETH_RING_SIZE`): nothing is dropped.
fn stream(node: &Node) -> Result<()> {
    let _room = undisturbed()?;
    node.within(ENDS[1].0, || {
        Ok(std::fs::write("/proc/sys/net/ipv4/tcp_rmem", "4096 131072 262144")?)
    })?;
    let sites = [(ENDS[0].0, ORANGE.address), (ENDS[1].0, GREEN.address)];
    tcp_bulk(node, sites[0], sites[1], 256 << 20)
}

fn frames(node: &Node, qdisc: Qdisc, count: usize, frame: &[u8]) -> Result<()> {
    node.within(ENDS[0].0, || {
        let _room = undisturbed()?;
        let socket = RawFrames::on(ENDS[0].1, qdisc)?;
        (0..count).try_for_each(|_| socket.send(frame))
    })
}

/// Holds one direction of an end, by our count, against the device's packets and bytes, where
/// super-frames passed the hook and single frames the device, which counts `less` bytes of each.
fn super_frames(ours: Counters, device: (u64, u64), less: u64) -> Result<()> {
    ensure!(ours.packets * 2 < ours.segments, "no super-frames: {ours:?}");
    assert_eq!(device.0, ours.segments, "the device's packets are our segments");
    let repeated = HEADERS * (ours.segments - ours.packets);
    assert_eq!(device.1 + less * device.0, ours.bytes + repeated, "bytes");
    Ok(())
}

#[test]
fn without_tso_the_device_counts_our_segments() {
    relation(
        |_| offload(ENDS[0], "tso off"),
        stream,
        |sender, receiver| {
            // The stack cuts super-frames between the hook and the device.
            super_frames(sender.agent.tx, sender.device()[1], 0)?;
            // From there on they are single frames for everybody.
            assert_eq!(receiver.agent.rx.segments, receiver.agent.rx.packets);
            assert_equal(&[receiver]);
            assert_eq!(sender.agent.tx.segments, receiver.agent.rx.segments);
            assert_eq!(sender.device()[0], sender.counted()[0]);
            Ok(())
        },
    );
}

#[test]
fn with_gro_the_device_counts_our_segments_on_the_receiver() {
    relation(
        |_| {
            // Only single frames go by NAPI and GRO (`veth_skb_is_eligible_for_gro`).
            offload(ENDS[0], "tso off")?;
            offload(ENDS[1], "gro on")
        },
        stream,
        |sender, receiver| {
            // GRO joins what the device has counted, before the hook sees it. NAPI counts without
            // the Ethernet header (`veth_xdp_rcv`), and the sender takes over the figure of the
            // receiver (`veth_get_stats64`).
            super_frames(receiver.agent.rx, receiver.device()[0], ETHERNET)?;
            super_frames(sender.agent.tx, sender.device()[1], ETHERNET)?;
            assert_eq!(sender.device()[0], sender.counted()[0]);
            assert_eq!(receiver.device()[1], receiver.counted()[1]);
            Ok(())
        },
    );
}

fn xdp_on_the_receiver(node: &Node) -> Result<XdpPass> {
    node.within(ENDS[1].0, || XdpPass::attach(ENDS[1].1))
}

#[test]
fn with_xdp_the_device_counts_no_ethernet_headers() {
    relation(
        xdp_on_the_receiver,
        |_| ORANGE.ping(&GREEN, 500),
        |sender, receiver| {
            // Counted by NAPI behind `eth_type_trans`: 14 bytes less a frame. See above.
            assert_eq!(receiver.counted(), [(500, 500 * 98); 2]);
            assert_eq!(receiver.device(), [(500, 500 * (98 - ETHERNET)), (500, 500 * 98)]);
            assert_eq!(sender.counted(), [(500, 500 * 98); 2]);
            assert_eq!(sender.device(), [(500, 500 * 98), (500, 500 * (98 - ETHERNET))]);
            Ok(())
        },
    );
}

#[test]
fn with_xdp_the_sender_loses_tso() {
    relation(xdp_on_the_receiver, stream, |sender, receiver| {
        super_frames(sender.agent.tx, sender.device()[1], ETHERNET)?;
        let (ours, [device, _]) = (receiver.agent.rx, receiver.device());
        assert_eq!((ours.packets, ours.segments), (device.0, device.0));
        assert_eq!(ours.bytes, device.1 + ETHERNET * device.0);
        Ok(())
    });
}

#[test]
fn a_vlan_tag_is_taken_off_before_the_ingress_hook() {
    let traffic = |node: &Node| {
        // An inline tag: VLAN 7, then the protocol.
        let tagged = [&[0, 7], &EXPERIMENT.to_be_bytes()[..]].concat();
        frames(node, Qdisc::Pass, 100, &frame(VLAN, &tagged, 104))
    };
    relation(
        |_| Ok(()),
        traffic,
        |sender, receiver| {
            assert_eq!(sender.counted(), [(0, 0), (100, 100 * 104)]);
            assert_equal(&[sender]);
            // `skb_vlan_untag` moves the 4 bytes of the tag out of the packet (`__netif_receive_skb_core`).
            assert_eq!(receiver.device(), [(100, 100 * 104), (0, 0)]);
            assert_eq!(receiver.counted(), [(100, 100 * 100), (0, 0)]);
            Ok(())
        },
    );
}

#[test]
fn what_is_dropped_behind_the_hook_is_counted_by_us_and_dropped_by_the_device() {
    const MTU: usize = 1400;
    // Header, MTU, and room for a VLAN tag (`is_skb_forwardable`).
    const FITS: usize = 14 + MTU + 4;
    relation(
        |_| {
            run("ip -n orange link set tap1 mtu 9000")?;
            run(&format!("ip -n green link set tap2 mtu {MTU}"))
        },
        |node| {
            frames(node, Qdisc::Pass, 7, &frame(EXPERIMENT, &[], FITS))?;
            node.within("orange", || {
                let socket = RawFrames::on("tap1", Qdisc::Pass)?;
                for _ in 0..5 {
                    // Newer kernels tell the sender (ENOBUFS), older ones do not.
                    let _ = socket.send(&frame(EXPERIMENT, &[], FITS + 1));
                }
                Ok(())
            })
        },
        |sender, receiver| {
            let fit = 7 * FITS as u64;
            assert_eq!(sender.counted()[1], (12, fit + 5 * (FITS as u64 + 1)));
            assert_eq!(sender.device()[1], (7, fit));
            assert_eq!(sender.kernel.tx_dropped, 5, "ours = sent + dropped");
            assert_eq!(receiver.counted()[0], (7, fit));
            assert_equal(&[receiver]);
            Ok(())
        },
    );
}

/// A known limit: these frames pass no hook on their way out. The other end counts them.
#[test]
fn senders_that_bypass_the_qdisc_are_counted_on_the_other_end_only() {
    let traffic = |node: &Node| {
        frames(node, Qdisc::Bypass, 90, &frame(EXPERIMENT, &[], 100))?;
        frames(node, Qdisc::Pass, 10, &frame(EXPERIMENT, &[], 100))
    };
    relation(
        |_| Ok(()),
        traffic,
        |sender, receiver| {
            assert_eq!(sender.device(), [(0, 0), (100, 100 * 100)]);
            assert_eq!(sender.counted(), [(0, 0), (10, 10 * 100)]);
            assert_eq!(receiver.counted(), [(100, 100 * 100), (0, 0)]);
            assert_equal(&[receiver]);
            Ok(())
        },
    );
}
