//! Two topologies that differ in nothing but the fast path.

use std::time::Duration;

use anyhow::{Context as _, Result};
use veth_tests::{Agent, Capture, Node, RawFrames, mac_text, run};

use super::{
    super::{By, SOON, Shape, fast_by, pods_by},
    frames::{Built, World, sentinels},
};

/// A topology: where frames go in, and where they come out.
pub struct Side {
    sender: RawFrames,
    at_red: Capture,
    at_blue: Capture,
}

/// What came out: at blue, and at red.
pub type Arrived = [Vec<Vec<u8>>; 2];

/// The accelerated topology and the plain one, with the same MACs and addresses.
pub struct Twins {
    pub accelerated: Side,
    pub plain: Side,
    pub world: World,
}

impl Twins {
    pub fn make(node: &Node, shape: Shape, by: By) -> Result<Self> {
        let setup = pods_by(node, shape, by)?;
        setup.stop(node, nix::sys::signal::Signal::SIGTERM)?;
        // Good for longer than the test: what is compared then is programs and tables alone.
        let daemon = Agent::start(node, "--lease 3h")?;
        run("ip -n blue link set b1 mtu 1400")?;
        fast_by(node, &daemon, by)?;
        twin(shape)?;
        if by == By::Xdp {
            // Then checksums are whole when frames are seen, on both sides.
            for netns in ["red2 ethtool -K r1", "blue2 ethtool -K b1"] {
                run(&format!("nsenter --net=/run/netns/{netns} tx off"))?;
            }
        }
        for (forwarder, red, blue) in [("", "red", "blue"), ("-n plain ", "red2", "blue2")] {
            settle(node, shape, forwarder, red, blue)?;
        }
        fast_by(node, &daemon, by)?;
        // From now on nothing changes the tables.
        daemon.kill()?;
        let world = World::look(shape)?;
        let side = |red: &str, blue: &str| -> Result<Side> {
            Ok(Side {
                sender: node.within(red, || RawFrames::with_gso("r1"))?,
                at_red: Capture::start(red, "r1")?,
                at_blue: Capture::start(blue, "b1")?,
            })
        };
        Ok(Self { accelerated: side("red", "blue")?, plain: side("red2", "blue2")?, world })
    }
}

/// Makes the same by hand, without any program.
fn twin(shape: Shape) -> Result<()> {
    for netns in ["plain", "red2", "blue2"] {
        run(&format!("ip netns add {netns}"))?;
        run(&format!("ip -n {netns} link set lo up"))?;
    }
    for (near, far, pod, twin) in [("r0", "r1", "red", "red2"), ("b0", "b1", "blue", "blue2")] {
        let (near_mac, far_mac) = (mac_text("host", near)?, mac_text(pod, far)?);
        run(&format!(
            "ip -n plain link add {near} address {near_mac} type veth peer name {far} address {far_mac} netns {twin}"
        ))?;
    }
    run("ip -n blue2 link set b1 mtu 1400")?;
    match shape {
        Shape::Bridged => {
            run(&format!(
                "ip -n plain link add br0 address {} type bridge",
                mac_text("host", "br0")?
            ))?;
            run("ip -n plain link set br0 up")?;
            run("ip -n plain address add 10.0.0.1/24 dev br0")?;
            run("ip -n plain address add fd00::1/64 dev br0 nodad")?;
        }
        Shape::Routed => {
            run(
                "nsenter --net=/run/netns/plain sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
            )?;
        }
    }
    for (near, far, twin, last) in [("r0", "r1", "red2", 2), ("b0", "b1", "blue2", 3)] {
        let (v4, v6) = (format!("10.0.0.{last}"), format!("fd00::{last}"));
        let lengths = if shape == Shape::Bridged { (24, 64) } else { (32, 128) };
        run(&format!("ip -n {twin} address add {v4}/{} dev {far}", lengths.0))?;
        run(&format!("ip -n {twin} address add {v6}/{} dev {far} nodad", lengths.1))?;
        if shape == Shape::Bridged {
            run(&format!("ip -n plain link set {near} master br0"))?;
        }
        run(&format!("ip -n plain link set {near} up"))?;
        run(&format!("ip -n {twin} link set {far} up"))?;
        if shape == Shape::Routed {
            run(&format!("ip -n plain address add 169.254.1.1/32 dev {near}"))?;
            run(&format!("ip -n plain address add fd01::1/128 dev {near} nodad"))?;
            run(&format!("ip -n plain route add {v4}/32 dev {near}"))?;
            run(&format!("ip -n plain route add {v6}/128 dev {near}"))?;
            run(&format!("ip -n {twin} route add 169.254.1.1/32 dev {far}"))?;
            run(&format!("ip -n {twin} route add default via 169.254.1.1"))?;
            run(&format!("ip -n {twin} route add fd01::1/128 dev {far}"))?;
            run(&format!("ip -n {twin} route add ::/0 via fd01::1 dev {far}"))?;
        }
    }
    Ok(())
}

/// Takes away what would make two runs of the same differ: questions of neighbours, limits on the rate
/// of errors, and what a bridge learns from forged frames.
fn settle(node: &Node, shape: Shape, forwarder: &str, red: &str, blue: &str) -> Result<()> {
    let inside = |netns: &str, line: &str| -> Result<()> {
        let enter = if netns.is_empty() {
            String::new()
        } else {
            format!("nsenter --net=/run/netns/{netns} ")
        };
        run(&format!("{enter}{line}"))?;
        Ok(())
    };
    let host = forwarder.trim().trim_start_matches("-n ").to_owned();
    for netns in [host.as_str(), red, blue] {
        inside(netns, "sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv4.icmp_ratelimit=0")?;
        inside(netns, "sysctl -qw net.ipv6.icmp.ratelimit=0")?;
        inside(
            netns,
            "sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0",
        )?;
    }
    let introduce = |one: (&str, &str, &str), other: (&str, &str, &str)| -> Result<()> {
        let mac = |(netns, interface, _): (&str, &str, &str)| {
            mac_text(if netns.is_empty() { "host" } else { netns }, interface)
        };
        for (knows, known) in [(one, other), (other, one)] {
            let at = if knows.0.is_empty() { String::new() } else { format!("-n {} ", knows.0) };
            run(&format!(
                "ip {at}neighbour replace {} lladdr {} dev {} nud permanent",
                known.2,
                mac(known)?,
                knows.1
            ))?;
        }
        Ok(())
    };
    for family in 0..2 {
        let pick = |v4: &'static str, v6: &'static str| if family == 0 { v4 } else { v6 };
        let (of_red, of_blue) = (pick("10.0.0.2", "fd00::2"), pick("10.0.0.3", "fd00::3"));
        match shape {
            Shape::Bridged => {
                introduce((red, "r1", of_red), (blue, "b1", of_blue))?;
                let bridge = pick("10.0.0.1", "fd00::1");
                introduce((&host, "br0", bridge), (red, "r1", of_red))?;
                introduce((&host, "br0", bridge), (blue, "b1", of_blue))?;
            }
            Shape::Routed => {
                let near = pick("169.254.1.1", "fd01::1");
                introduce((&host, "r0", near), (red, "r1", of_red))?;
                introduce((&host, "b0", near), (blue, "b1", of_blue))?;
            }
        }
    }
    if shape == Shape::Bridged {
        let bridge = |line: String| inside(&host, &line);
        for (near, far, netns) in [("r0", "r1", red), ("b0", "b1", blue)] {
            let mac = mac_text(netns, far)?;
            bridge(format!("bridge fdb replace {mac} dev {near} master static sticky"))?;
        }
    }
    node.eventually("no address is tentative", SOON, || {
        for netns in [host.as_str(), red, blue] {
            let at = if netns.is_empty() { String::new() } else { format!("-n {netns} ") };
            if !run(&format!("ip {at}-6 address show tentative"))?.stdout.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    Ok(())
}

impl Side {
    /// Sends frames, and gives what came out of it. `round` tells the end of this batch from others.
    pub fn send(
        &self,
        world: &World,
        frames: &[Built],
        round: u32,
    ) -> Result<(Vec<bool>, Arrived)> {
        let taken =
            frames.iter().map(|frame| self.sender.send_gso(&frame.bytes, frame.gso).is_ok());
        let taken = taken.collect();
        let last = sentinels(world, round);
        for (frame, _) in &last {
            self.sender.send_gso(frame, None)?;
        }
        let at_blue = until_both(&self.at_blue, &last).context("at blue")?;
        let at_red = until_both(&self.at_red, &last).context("at red")?;
        Ok((taken, [at_blue, at_red]))
    }
}

/// The frames up to both of these, in whichever order, without them.
fn until_both(capture: &Capture, last: &[(Vec<u8>, Vec<u8>); 2]) -> Result<Vec<Vec<u8>>> {
    let is = |frame: &[u8], mark: &[u8]| frame.windows(mark.len()).any(|window| window == mark);
    let is_last = |frame: &[u8]| last.iter().any(|(_, mark)| is(frame, mark));
    let limit = Duration::from_secs(5);
    let mut frames = capture.until(is_last, limit)?;
    frames.extend(capture.until(is_last, limit)?);
    Ok(frames)
}
