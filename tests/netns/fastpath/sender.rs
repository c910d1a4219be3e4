//! A sender is who it says it is, or its packets are the stack's.

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Node, Qdisc, RawFrames, on_node, run};

use super::{Shape, fallbacks, fast, pods, redirected};

fn mac(netns: &str, interface: &str) -> Result<[u8; 6]> {
    let at = if netns == "host" { String::new() } else { format!("-n {netns} ") };
    let shown = run(&format!("ip {at}-br link show dev {interface}"))?.stdout;
    let text = shown.split_whitespace().nth(2).context("no MAC")?;
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    octets.try_into().map_err(|_| anyhow::anyhow!("{text} is no MAC"))
}

/// A UDP packet as a frame, with a right header checksum.
fn udp(to: [u8; 6], from: [u8; 6], source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 36, 0, 1, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = [to.as_slice(), &from, &[8, 0], &header].concat();
    // Ports 9, 16 bytes, no checksum.
    frame.extend([0, 9, 0, 9, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    frame
}

fn forged_senders(node: &Node, shape: Shape) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    let own = mac("red", "r1")?;
    let to = match shape {
        Shape::Bridged => mac("blue", "b1")?,
        Shape::Routed => mac("host", "r0")?,
    };
    let (red, blue, other) = ([10, 0, 0, 2], [10, 0, 0, 3], [10, 0, 0, 77]);
    let mut forged_mac = own;
    forged_mac[5] ^= 1;
    let before = daemon.page()?;
    node.within("red", || {
        let frames = RawFrames::on("r1", Qdisc::Pass)?;
        frames.send(&udp(to, own, red, blue))?;
        for frame in [
            udp(to, forged_mac, red, blue),
            udp(to, own, other, blue),
            udp(to, own, blue, blue),
            udp(to, mac("blue", "b1").unwrap_or(own), blue, red),
        ] {
            frames.send(&frame)?;
        }
        Ok(())
    })?;
    node.eventually("all frames were judged", super::SOON, || {
        let forged =
            fallbacks(&daemon.page()?, "r0", "source")? - fallbacks(&before, "r0", "source")?;
        Ok((forged >= 4).then_some(()))
    })?;
    let after = daemon.page()?;
    assert_eq!(redirected(&after, "r0")? - redirected(&before, "r0")?, 1, "the honest one");
    assert_eq!(fallbacks(&after, "r0", "source")? - fallbacks(&before, "r0", "source")?, 4);
    ensure!(!daemon.said().contains("ERROR"));
    Ok(())
}

#[test]
fn forged_senders_on_a_bridge_are_the_stacks() {
    on_node(|node| forged_senders(node, Shape::Bridged));
}

#[test]
fn forged_senders_behind_a_route_are_the_stacks() {
    on_node(|node| forged_senders(node, Shape::Routed));
}
