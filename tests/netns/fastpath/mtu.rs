//! Nothing too big reaches a target, and what the stack does with it is the same as without us.

use std::path::Path;

use anyhow::{Result, ensure};
use veth_tests::{Agent, Node, agent, link_stats, on_node, run, tcp_bulk, try_run};

use super::{By, SOON, Shape, fallbacks, fast, fast_by, pods, pods_by};

/// How a ping of 1,472 bytes (1,500 with its headers) with DF ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The path MTU that the sender was told.
    Told(u32),
    Lost,
}

fn big_ping(address: &str) -> Result<Outcome> {
    run("ip -n red route flush cache")?;
    run("ip -n red -6 route flush cache")?;
    let size = if address.contains(':') { 1452 } else { 1472 };
    let ping = |count| {
        try_run(&format!(
            "nsenter --net=/run/netns/red ping -c {count} -i 0.2 -W 1 -M do -s {size} {address}"
        ))
    };
    let output = ping(2)?;
    let text = output.stdout + &output.stderr;
    let told = text.split("mtu").nth(1).and_then(|rest| {
        let digits = rest.trim_start_matches([' ', '=', ':']);
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    Ok(match (output.code, told) {
        (0, _) => Outcome::Answered,
        (_, Some(mtu)) => Outcome::Told(mtu),
        (_, None) => Outcome::Lost,
    })
}

/// Sets MTUs: of the far end, and of the near end and the route to it.
fn shrink(near: u32, far: u32) -> Result<()> {
    run(&format!("ip -n blue link set b1 mtu {far}"))?;
    run(&format!("ip link set b0 mtu {near}"))?;
    Ok(())
}

pub fn same_outcome(node: &Node, shape: Shape, by: By) -> Result<()> {
    let daemon = pods_by(node, shape, by)?;
    fast_by(node, &daemon, by)?;
    for (near, far) in [(1500, 1400), (1400, 1400), (1500, 9000), (1500, 1500)] {
        shrink(near, far)?;
        // The agent has heard of it when its tables say so: by the size of what it lets through.
        for address in ["10.0.0.3", "fd00::3"] {
            compare(node, &daemon, shape, (near, far), address)?;
        }
    }
    Ok(())
}

fn compare(
    node: &Node,
    daemon: &Agent,
    shape: Shape,
    (near, far): (u32, u32),
    address: &str,
) -> Result<()> {
    let case = format!("{shape:?}, near {near}, far {far}, {address}");
    let limit = near.min(far);
    node.eventually(&format!("{case}: the tables follow"), SOON, || {
        let oversize = || fallbacks(&daemon.page()?, "r0", "oversize");
        let before = oversize()?;
        big_ping(address)?;
        Ok(((oversize()? > before) == (limit < 1500)).then_some(()))
    })?;
    let before = fallbacks(&daemon.page()?, "r0", "oversize")?;
    let stats = link_stats("blue", "b1")?;
    let with = big_ping(address)?;
    let counted = fallbacks(&daemon.page()?, "r0", "oversize")? - before;
    ensure!((counted > 0) == (limit < 1500), "{case}: {counted} counted as oversize");
    if limit < 1500 {
        // The kernel's own questions and answers are small.
        let arrived = link_stats("blue", "b1")?.since(stats).rx_bytes;
        ensure!(arrived < 1400, "{case}: {arrived} bytes reached the target");
    }
    let without = without_us(node, daemon, || big_ping(address))?;
    assert_eq!(with, without, "{case}");
    Ok(())
}

/// Does `work` while the pairs are only observed.
fn without_us<T>(node: &Node, daemon: &Agent, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let apply = |file: &Path| -> Result<()> {
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        Ok(())
    };
    let entries = |wanted: f64| {
        let labels = [("map", "va_endpoints")];
        node.eventually(&format!("{wanted} addresses are redirected to"), SOON, || {
            let entries = daemon.page()?.value("veth_agent_map_entries", &labels)?;
            Ok(((entries - wanted).abs() < 0.5).then_some(()))
        })
    };
    let fast = node.scratch().join("pods.yaml");
    let plain = std::fs::read_to_string(&fast)?;
    let plain = plain.replace("datapath: tc", "datapath: observe");
    let plain = plain.replace("datapath: xdp", "datapath: observe");
    apply(&node.file("plain.yaml", &plain)?)?;
    entries(0.0)?;
    let outcome = work();
    apply(&fast)?;
    entries(4.0)?;
    outcome
}

#[test]
fn too_big_for_the_target_ends_as_without_us_on_a_bridge() {
    on_node(|node| same_outcome(node, Shape::Bridged, By::Tc));
}

#[test]
fn too_big_for_the_target_ends_as_without_us_over_routes() {
    on_node(|node| same_outcome(node, Shape::Routed, By::Tc));
}

/// Where the router tells the sender, TCP finds the path's MTU and completes.
#[test]
fn tcp_finds_the_mtu_of_a_routed_path() {
    on_node(|node| {
        let daemon = pods(node, Shape::Routed)?;
        fast(node, &daemon)?;
        shrink(1400, 1400)?;
        for (red, blue) in [("10.0.0.2", "10.0.0.3"), ("fd00::2", "fd00::3")] {
            tcp_bulk(node, ("red", red), ("blue", blue), 8 << 20)?;
        }
        Ok(())
    });
}
