//! A sender is who it says it is, or its packets are the stack's.

use anyhow::{Result, ensure};
use veth_tests::{Node, Qdisc, RawFrames, mac, on_node, udp_frame};

use super::{Shape, fallbacks, fast, pods, redirected};

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
        frames.send(&udp_frame(to, own, red, blue))?;
        for frame in [
            udp_frame(to, forged_mac, red, blue),
            udp_frame(to, own, other, blue),
            udp_frame(to, own, blue, blue),
            udp_frame(to, mac("blue", "b1").unwrap_or(own), blue, red),
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
