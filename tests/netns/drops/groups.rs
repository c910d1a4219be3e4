//! Frames to a group or to all go to whom it may concern: where nobody is, nothing is lost.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use nix::net::if_::if_nametoindex;
use veth_agent::datapath::{DEFAULT_BPFFS, Maps, Pins};
use veth_common::drops::TO_GROUP;
use veth_tests::{Agent, Node, Qdisc, RawFrames, mac, run, shell, udp_frame, undisturbed};

use super::{BLUE, RED, SOON, drops, lose, with_reasons};

/// How many of each are sent.
const FRAMES: u64 = 20;

/// A UDP packet to port 9 of an address.
fn frame(to: [u8; 6], from: [u8; 6], destination: &str) -> Result<Vec<u8>> {
    let header = [0x60, 0, 0, 0, 0, 8, 17, 64];
    let (source, destination): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse()?, destination.parse()?);
    let udp = [0, 9, 0, 9, 0, 8, 0, 0];
    let ip = [header.as_slice(), &source.octets(), &destination.octets(), &udp].concat();
    Ok([to.as_slice(), &from, &[0x86, 0xdd], &ip].concat())
}

/// Sends multicast and unicast frames to blue's end.
fn send(node: &Node) -> Result<()> {
    let to = mac("blue", "b1")?;
    let from = mac("red", "r1")?;
    let multicast = frame([0x33, 0x33, 0, 0, 0, 0x77], from, "ff02::77")?;
    let unicast = frame(to, from, "fd77::1")?;
    let raw = node.within("red", || RawFrames::on("r1", Qdisc::Pass))?;
    for _ in 0..FRAMES {
        raw.send(&multicast)?;
        raw.send(&unicast)?;
    }
    Ok(())
}

/// How many frames to a group or to all ended at blue's end, for whatever reason.
fn ended(node: &Node) -> Result<u64> {
    let ifindex = node.within("blue", || Ok(if_nametoindex("b1")?))?;
    let maps = Maps::open(&Pins::at(DEFAULT_BPFFS.as_ref()), 1)?;
    let mut ended = 0;
    for key in maps.drop_counts.keys() {
        let key = key?;
        if key.ifindex == ifindex && key.reason & TO_GROUP != 0 {
            let cpus = maps.drop_counts.get(&key, 0)?;
            ended += cpus.iter().map(|count| count.packets).sum::<u64>();
        }
    }
    Ok(ended)
}

#[test]
fn without_ipv6_a_multicast_frame_is_no_loss_and_a_unicast_frame_is() {
    with_reasons(|node| {
        let daemon = super::pair(node)?;
        send(node)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("ipv6disabled", FRAMES)])])?;
        ensure!(ended(node)? >= FRAMES, "they ended elsewhere");
        Ok(())
    });
}

/// What comes before an interface has its route for multicast.
#[test]
fn without_a_route_a_multicast_frame_is_no_loss_and_a_unicast_frame_is() {
    with_reasons(|node| {
        let daemon = super::pair(node)?;
        run("nsenter --net=/run/netns/blue sysctl -qw net.ipv6.conf.b1.disable_ipv6=0")?;
        node.eventually("the route for multicast", SOON, || {
            let gone = shell("ip -n blue -6 route del multicast ff00::/8 dev b1 table local")?;
            Ok((gone.code == 0).then_some(()))
        })?;
        send(node)?;
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("ip_innoroutes", FRAMES)])])?;
        ensure!(ended(node)? >= FRAMES, "they ended elsewhere");
        Ok(())
    });
}

/// What each kernel calls otherwise, or not at all: an address that must not come from a wire.
#[test]
fn a_group_that_nobody_joined_is_no_loss_and_a_martian_is() {
    with_reasons(|node| {
        let daemon = super::pair(node)?;
        let (to, from) = (mac("blue", "b1")?, mac("red", "r1")?);
        let group = udp_frame([1, 0, 0x5e, 1, 2, 3], from, [10, 0, 0, 1], [239, 1, 2, 3]);
        let martian = udp_frame(to, from, [10, 0, 0, 1], [127, 0, 0, 1]);
        let raw = node.within("red", || RawFrames::on("r1", Qdisc::Pass))?;
        for _ in 0..FRAMES {
            raw.send(&group)?;
            raw.send(&martian)?;
        }
        let lost = node.eventually("the martians are counted", SOON, || {
            let lost = drops(&daemon.page()?, BLUE);
            Ok((lost.values().sum::<u64>() >= FRAMES).then_some(lost))
        })?;
        ensure!(lost.len() == 1 && lost.values().sum::<u64>() == FRAMES, "{lost:?}");
        ensure!(ended(node)? >= FRAMES, "the multicast ended elsewhere");
        Ok(())
    });
}

/// Protocols that nobody here speaks: of spanning trees, LLDP, and none at all.
#[test]
fn what_nobody_here_speaks_is_a_loss_only_where_it_came_to_one() {
    with_reasons(|node| {
        let daemon = super::pair(node)?;
        let (to, from) = (mac("blue", "b1")?, mac("red", "r1")?);
        let tree = [[1, 0x80, 0xc2, 0, 0, 0].as_slice(), &from, &[0, 38, 0x42, 0x42, 3], &[0; 35]];
        let lldp = [[1, 0x80, 0xc2, 0, 0, 0xe].as_slice(), &from, &[0x88, 0xcc], &[0; 46]];
        let all = [[0xff; 6].as_slice(), &from, &[0x88, 0xb5], &[0; 46]];
        let one = [to.as_slice(), &from, &[0x88, 0xb5], &[0; 46]];
        let raw = node.within("red", || RawFrames::on("r1", Qdisc::Pass))?;
        for _ in 0..FRAMES {
            for frame in [tree.concat(), lldp.concat(), all.concat(), one.concat()] {
                raw.send(&frame)?;
            }
        }
        lose(node, &daemon, &[(RED, &[]), (BLUE, &[("unhandled_proto", FRAMES)])])?;
        ensure!(ended(node)? >= 3 * FRAMES, "they ended elsewhere");
        Ok(())
    });
}

const PAIRS: usize = 8;

fn lost_nothing(daemon: &Agent) -> Result<()> {
    let page = daemon.page()?;
    for pair in 0..PAIRS {
        for (netns, side) in [("red", 'r'), ("blue", 'b')] {
            let drops = drops(&page, (netns, &format!("{side}{pair}")));
            ensure!(drops.is_empty(), "{netns}, pair {pair}: {drops:?}");
        }
    }
    Ok(())
}

/// The far end hears reports before it has its route for multicast.
#[test]
fn a_pair_without_a_bridge_loses_nothing_while_it_starts() {
    with_reasons(|node| {
        let _room = undisturbed()?;
        let daemon = Agent::start(node, "")?;
        for netns in ["red", "blue"] {
            node.netns(netns)?;
        }
        for pair in 0..PAIRS {
            run(&format!("ip -n red link add r{pair} type veth peer name b{pair} netns blue"))?;
        }
        for pair in 0..PAIRS {
            crate::counts::attached(node, ("red", &format!("r{pair}")))?;
            crate::counts::attached(node, ("blue", &format!("b{pair}")))?;
        }
        for pair in 0..PAIRS {
            run(&format!("ip -n red link set r{pair} up"))?;
            run(&format!("ip -n blue link set b{pair} up"))?;
        }
        for pair in 0..PAIRS {
            let ping = format!("nsenter --net=/run/netns/red ping -q -c 2 -W 1 ff02::1%r{pair}");
            node.eventually("an answer", SOON, || Ok((shell(&ping)?.code == 0).then_some(())))?;
        }
        lost_nothing(&daemon)
    });
}
