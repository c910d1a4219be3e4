//! One hop instead of two, with the outcome that the stack would give.

use anyhow::{Result, ensure};
use veth_tests::{Node, Page, bearable, link_stats, on_node, run, tcp_bulk, try_run};

use super::{By, SOON, Shape, fallbacks, fast_by, in_red, pods_by, redirected_by};

pub fn takes_one_hop(node: &Node, shape: Shape, by: By) -> Result<()> {
    let daemon = pods_by(node, shape, by)?;
    fast_by(node, &daemon, by)?;
    let (before, host) = (daemon.page()?, link_stats("host", "b0")?);
    let far = link_stats("blue", "b1")?;
    in_red("ping -q -f -c 500 10.0.0.3")?;
    in_red("ping -q -f -c 300 fd00::3")?;
    let (after, host_after) = (daemon.page()?, link_stats("host", "b0")?);
    for near in ["r0", "b0"] {
        let new = redirected_by(&after, near, by)? - redirected_by(&before, near, by)?;
        let of_near = [("interface", near)];
        let stack = after.all("veth_agent_redirect_fallbacks_total", &of_near);
        let stack: Vec<_> = stack.filter(|sample| sample.value > 0.0).collect();
        assert_eq!(new, 800, "{near}: {stack:?} {}", daemon.said());
    }
    let sent = host_after.since(host).tx_packets;
    match by {
        // The way to the far end leads past the near end's transmit side.
        By::Tc => ensure!(sent < 20, "{sent}"),
        // The kernel counts what it takes there, and so do we.
        By::Xdp => {
            ensure!(sent >= 800, "{sent}");
            // The two readings are not one, and the kernel sends of its own accord.
            node.eventually("both count the same in all", SOON, || {
                let device = link_stats("host", "b0")?.tx_packets;
                let ours = daemon.page()?.count("veth_agent_packets_total", "host", "b0", "tx")?;
                Ok((ours == device).then_some(()))
            })?;
        }
    }
    let arrived = link_stats("blue", "b1")?.since(far);
    ensure!(arrived.tx_packets >= 800, "{arrived:?}");
    let counted = |page: &Page, way| page.count("veth_agent_packets_total", "blue", "b1", way);
    ensure!(counted(&after, "rx")? - counted(&before, "rx")? >= 800);
    Ok(())
}

#[test]
fn pods_on_a_bridge_reach_each_other_in_one_hop() {
    on_node(|node| takes_one_hop(node, Shape::Bridged, By::Tc));
}

#[test]
fn pods_behind_routes_reach_each_other_in_one_hop() {
    on_node(|node| takes_one_hop(node, Shape::Routed, By::Tc));
}

/// What the stack does is done: the hop limit goes down where there is a router, and only there.
pub fn hop_limits(node: &Node, shape: Shape, by: By) -> Result<()> {
    let daemon = pods_by(node, shape, by)?;
    fast_by(node, &daemon, by)?;
    let wanted = if shape == Shape::Routed { 63 } else { 64 };
    for address in ["10.0.0.3", "fd00::3"] {
        let answer = run(&format!("nsenter --net=/run/netns/red ping -c 1 {address}"))?.stdout;
        ensure!(answer.contains(&format!("ttl={wanted} ")), "{answer}");
    }
    let before = fallbacks(&daemon.page()?, "r0", "hop_limit")?;
    let last = try_run("nsenter --net=/run/netns/red ping -q -c 1 -W 1 -t 1 10.0.0.3")?;
    let told = fallbacks(&daemon.page()?, "r0", "hop_limit")? - before;
    match shape {
        Shape::Bridged => ensure!(last.code == 0 && told == 0, "{last:?}"),
        Shape::Routed => ensure!(last.code == 1 && told == 1, "{last:?}"),
    }
    Ok(())
}

#[test]
fn a_bridge_leaves_hop_limits_alone() {
    on_node(|node| hop_limits(node, Shape::Bridged, By::Tc));
}

#[test]
fn a_router_lowers_hop_limits() {
    on_node(|node| hop_limits(node, Shape::Routed, By::Tc));
}

/// A gigabyte each way, with checksums left to the devices as everybody does: every byte arrives, by
/// the fast path.
pub fn streams(node: &Node, shape: Shape, by: By) -> Result<()> {
    let daemon = pods_by(node, shape, by)?;
    fast_by(node, &daemon, by)?;
    let features = run("nsenter --net=/run/netns/red ethtool -k r1")?.stdout;
    ensure!(features.contains("tx-checksumming: on"), "{features}");
    let bytes = bearable(1 << 30);
    for (red, blue) in [("10.0.0.2", "10.0.0.3"), ("fd00::2", "fd00::3")] {
        let before = daemon.page()?;
        tcp_bulk(node, ("red", red), ("blue", blue), bytes)?;
        tcp_bulk(node, ("blue", blue), ("red", red), bytes / 4)?;
        let after = daemon.page()?;
        for near in ["r0", "b0"] {
            let new = redirected_by(&after, near, by)? - redirected_by(&before, near, by)?;
            // Super-frames carry up to 64 KiB.
            ensure!(new >= bytes / 65_536 / 4, "{near}: {new} redirected");
        }
    }
    Ok(())
}

#[test]
fn streams_arrive_whole_over_a_bridge() {
    on_node(|node| streams(node, Shape::Bridged, By::Tc));
}

#[test]
fn streams_arrive_whole_over_routes() {
    on_node(|node| streams(node, Shape::Routed, By::Tc));
}
