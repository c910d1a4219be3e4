//! The fast path by XDP: what it needs is switched and restored, and where it cannot be had, it says
//! so.

use anyhow::{Result, ensure};
use veth_agent::preflight::Feature;
use veth_tests::{Node, XdpPass, agent, expected, on_node, run, tcp_bulk, try_run};

use super::{By, SOON, Shape, fallbacks, fast_by, hop, mtu, pods_by, redirected_by};

#[test]
fn pods_on_a_bridge_reach_each_other_in_one_hop() {
    on_node(|node| hop::takes_one_hop(node, Shape::Bridged, By::Xdp));
}

#[test]
fn pods_behind_routes_reach_each_other_in_one_hop() {
    on_node(|node| hop::takes_one_hop(node, Shape::Routed, By::Xdp));
}

#[test]
fn a_bridge_leaves_hop_limits_alone() {
    on_node(|node| hop::hop_limits(node, Shape::Bridged, By::Xdp));
}

#[test]
fn a_router_lowers_hop_limits() {
    on_node(|node| hop::hop_limits(node, Shape::Routed, By::Xdp));
}

#[test]
fn streams_arrive_whole_over_a_bridge() {
    on_node(|node| hop::streams(node, Shape::Bridged, By::Xdp));
}

#[test]
fn streams_arrive_whole_over_routes() {
    on_node(|node| hop::streams(node, Shape::Routed, By::Xdp));
}

#[test]
fn too_big_for_the_target_ends_as_without_us_on_a_bridge() {
    on_node(|node| mtu::same_outcome(node, Shape::Bridged, By::Xdp));
}

#[test]
fn too_big_for_the_target_ends_as_without_us_over_routes() {
    on_node(|node| mtu::same_outcome(node, Shape::Routed, By::Xdp));
}

/// What `ethtool -k` says of all four ends.
fn offloads() -> Result<String> {
    let mut all = String::new();
    for (enter, interface) in [("", "r0"), ("red", "r1"), ("", "b0"), ("blue", "b1")] {
        let enter = match enter {
            "" => String::new(),
            netns => format!("nsenter --net=/run/netns/{netns} "),
        };
        all += &run(&format!("{enter}ethtool -k {interface}"))?.stdout;
    }
    Ok(all)
}

fn switched() -> Result<bool> {
    let far = run("nsenter --net=/run/netns/red ethtool -k r1")?.stdout;
    Ok(["tx-checksum-ip-generic: off", "generic-receive-offload: on", "tx-vlan-offload: off"]
        .iter()
        .all(|line| far.contains(line)))
}

fn status(node: &Node) -> Result<String> {
    let _ = node;
    Ok(agent("status")?.stdout)
}

/// Offloads, before the pair has asked for XDP and after it has left it, in one way or another.
fn restored(
    node: &Node,
    leave: impl FnOnce(&Node, veth_tests::Agent) -> Result<Option<veth_tests::Agent>>,
) -> Result<()> {
    let apply = |file: &std::path::Path| -> Result<()> {
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        Ok(())
    };
    let plain = super::BRIDGED.replace("datapath: tc", "datapath: observe");
    apply(&node.file("plain.yaml", &plain)?)?;
    let before = offloads()?;
    let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
    fast_by(node, &daemon, By::Xdp)?;
    ensure!(switched()?, "{}", offloads()?);
    ensure!(offloads()? != before, "nothing was switched");
    let left = leave(node, daemon)?;
    node.eventually("offloads are restored", SOON, || Ok((offloads()? == before).then_some(())))?;
    let hooks = run("ip -details link show r0")?.stdout;
    ensure!(!hooks.contains("prog/xdp"), "{hooks}");
    tcp_bulk(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), 4 << 20)?;
    drop(left);
    Ok(())
}

#[test]
fn detach_restores_the_offloads() {
    on_node(|node| {
        restored(node, |_, daemon| {
            daemon.kill()?;
            let detached = agent("detach --all")?;
            ensure!(detached.code == 0, "{}", detached.stderr);
            Ok(None)
        })
    });
}

/// Without its far end's offloads, the near end may not redirect any more.
#[test]
fn detaching_one_end_takes_the_pair_off_the_fast_path() {
    on_node(|node| {
        restored(node, |_, daemon| {
            daemon.kill()?;
            for netns in ["red", "blue"] {
                let detached = agent(&format!("detach {netns}"))?;
                ensure!(detached.code == 0, "{}", detached.stderr);
            }
            Ok(None)
        })
    });
}

#[test]
fn a_pair_that_asks_no_more_gets_its_offloads_back() {
    on_node(|node| {
        restored(node, |node, daemon| {
            let plain = node.scratch().join("plain.yaml");
            let applied = agent(&format!("apply -f {}", plain.display()))?;
            ensure!(applied.code == 0, "{}", applied.stderr);
            Ok(Some(daemon))
        })
    });
}

#[test]
fn a_restart_finds_what_a_crash_left_switched() {
    on_node(|node| {
        restored(node, |node, daemon| {
            daemon.kill()?;
            let plain = node.scratch().join("plain.yaml");
            let applied = agent(&format!("apply -f {}", plain.display()))?;
            ensure!(applied.code == 0, "{}", applied.stderr);
            Ok(Some(veth_tests::Agent::start(node, "")?))
        })
    });
}

#[test]
fn another_program_keeps_its_hook_and_status_names_it() {
    on_node(|node| {
        let plain = super::BRIDGED.replace("datapath: tc", "datapath: observe");
        let plain = node.file("plain.yaml", &plain)?;
        ensure!(agent(&format!("apply -f {}", plain.display()))?.code == 0);
        let theirs = XdpPass::attach("r0")?;
        let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
        node.eventually("status names it", SOON, || {
            let said = status(node)?;
            Ok((said.contains("red: idle, XDP program ") && said.contains(" holds r0"))
                .then_some(()))
        })?;
        ensure!(!switched()?, "{}", offloads()?);
        drop(theirs);
        fast_by(node, &daemon, By::Xdp)
    });
}

/// Frames for a receiver without NAPI vanish (`veth_xdp_xmit`).
#[test]
fn an_offload_that_somebody_switches_back_takes_the_pair_to_the_stack() {
    on_node(|node| {
        let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
        fast_by(node, &daemon, By::Xdp)?;
        for (line, what) in [
            ("gro", "rx-gro off"),
            ("tx", "tx-checksum-ip-generic on"),
            ("txvlan", "tx-vlan-hw-insert on"),
        ] {
            let (wrong, right) = if line == "gro" { ("off", "on") } else { ("on", "off") };
            let switch =
                |to| run(&format!("nsenter --net=/run/netns/red ethtool -K r1 {line} {to}"));
            switch(wrong)?;
            node.eventually(&format!("status names {what}"), SOON, || {
                let said = status(node)?;
                Ok(said.contains(&format!("somebody has switched {what} at r1")).then_some(()))
            })?;
            tcp_bulk(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), 1 << 20)?;
            tcp_bulk(node, ("blue", "10.0.0.3"), ("red", "10.0.0.2"), 1 << 20)?;
            switch(right)?;
            fast_by(node, &daemon, By::Xdp)?;
        }
        Ok(())
    });
}

/// From one kind to the other and back, with the same addresses: the tables differ all the same.
#[test]
fn pairs_change_between_tc_and_xdp() {
    on_node(|node| {
        let daemon = pods_by(node, Shape::Bridged, By::Tc)?;
        fast_by(node, &daemon, By::Tc)?;
        let xdp = super::BRIDGED.replace("datapath: tc", "datapath: xdp");
        let xdp = node.file("xdp.yaml", &xdp)?;
        ensure!(agent(&format!("apply -f {}", xdp.display()))?.code == 0);
        fast_by(node, &daemon, By::Xdp)?;
        let tc = node.scratch().join("pods.yaml");
        ensure!(agent(&format!("apply -f {}", tc.display()))?.code == 0);
        fast_by(node, &daemon, By::Tc)
    });
}

/// Above an MTU of about 3,500 a frame lies in pieces, which not every kernel can redirect.
#[test]
fn jumbo_frames_are_redirected_or_left_to_the_stack() {
    on_node(|node| {
        let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
        fast_by(node, &daemon, By::Xdp)?;
        for (enter, interface) in
            [("", "br0"), ("", "r0"), ("", "b0"), ("-n red", "r1"), ("-n blue", "b1")]
        {
            run(&format!("ip {enter} link set {interface} mtu 9000"))?;
        }
        let in_pieces = expected(Feature::XdpFragRedirect);
        for (size, fast) in [(8972, in_pieces), (3478, true)] {
            node.eventually(&format!("pings of {size} bytes"), SOON, || {
                let count = || -> Result<[u64; 2]> {
                    let page = daemon.page()?;
                    let oversize = fallbacks(&page, "r0", "oversize")?;
                    Ok([redirected_by(&page, "r0", By::Xdp)?, oversize])
                };
                let before = count()?;
                // Not all of them pass before the agent has seen every MTU.
                let ping = format!("ping -q -c 5 -i 0.01 -W 1 -M do -s {size} 10.0.0.3");
                let answered = try_run(&format!("nsenter --net=/run/netns/red {ping}"))?.code == 0;
                let after = count()?;
                let new = [after[0] - before[0], after[1] - before[1]];
                Ok((answered && new == if fast { [5, 0] } else { [0, 5] }).then_some(()))
            })?;
        }
        tcp_bulk(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), 64 << 20)
    });
}

/// More transmit queues than the near end has places for.
#[test]
fn a_sender_with_too_many_queues_is_left_to_the_stack() {
    on_node(|node| {
        run("ip netns add red")?;
        run(
            "ip link add r0 numrxqueues 1 numtxqueues 1 type veth peer name r1 netns red numrxqueues 4 numtxqueues 4",
        )?;
        run("nsenter --net=/run/netns/red ethtool -L r1 tx 4 rx 1")?;
        let daemon = pods_by(node, Shape::Bridged, By::Xdp)?;
        let why = "the peer of r0 sends by more queues than r0 receives by";
        node.eventually("the log says why", SOON, || {
            Ok(daemon.said().contains(why).then_some(()))
        })?;
        node.eventually("status says so", SOON, || {
            let said = status(node)?;
            Ok(said.contains("red: idle, not made ready for XDP").then_some(()))
        })?;
        ensure!(!switched()?, "{}", offloads()?);
        tcp_bulk(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), 1 << 20)
    });
}
