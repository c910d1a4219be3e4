//! The ledger of a pair: what is put into it comes out, segment by segment, however packets travel.

use anyhow::{Context as _, Result, ensure};
use veth_agent::collect;
use veth_common::counters::EndCounters;
use veth_tests::{Agent, Node, bearable, on_node, tcp_bulk, undisturbed};

use crate::{
    counts::{End, inside},
    fastpath::{By, SOON, Shape, fast_by, make_pods, maps, pods_by},
    mtu_counts::{ENDS, identity},
};

/// The two pairs, by their places in [`ENDS`].
const PAIRS: [[usize; 2]; 2] = [[0, 1], [3, 2]];

/// What all ends have counted, once nothing moves any more.
fn at_rest(node: &Node) -> Result<[EndCounters; 4]> {
    let counters = |end: End<'_>| -> Result<EndCounters> {
        collect::read(&maps()?, identity(node, end)?).counters.context("no slot")
    };
    let mut seen = Vec::new();
    node.eventually("the traffic stops", SOON, || {
        let mut all = [EndCounters::default(); 4];
        for (counted, end) in all.iter_mut().zip(ENDS) {
            *counted = counters(end)?;
        }
        seen.retain(|earlier| *earlier == all);
        seen.push(all);
        Ok((seen.len() == 5).then_some(all))
    })
}

/// What the counters of one end have grown by.
fn grown(now: EndCounters, then: EndCounters) -> [u64; 3] {
    [
        now.tx.segments - then.tx.segments,
        now.redirected_in - then.redirected_in,
        now.rx.segments - then.rx.segments,
    ]
}

/// Both directions of both pairs, after traffic from pod to pod and back.
fn balances(node: &Node, datapath: &str) -> Result<()> {
    for netns in ["red", "blue"] {
        // A window that fits the queues on the way (NAPI's holds 256 frames, `VETH_RING_SIZE`).
        node.within(netns, || {
            Ok(std::fs::write("/proc/sys/net/ipv4/tcp_rmem", "4096 65536 131072")?)
        })?;
    }
    let _room = undisturbed()?;
    let before = at_rest(node)?;
    let bytes = bearable(64 << 20);
    for (red, blue) in [("10.0.0.2", "10.0.0.3"), ("fd00::2", "fd00::3")] {
        tcp_bulk(node, ("red", red), ("blue", blue), bytes)?;
        tcp_bulk(node, ("blue", blue), ("red", red), bytes / 2)?;
    }
    let after = at_rest(node)?;
    let grown = [0, 1, 2, 3].map(|end| grown(after[end], before[end]));
    for [far, near] in PAIRS {
        for (from, to) in [(far, near), (near, far)] {
            let ([sent, redirected_in, _], [_, _, arrived]) = (grown[from], grown[to]);
            ensure!(
                sent + redirected_in == arrived,
                "{:?} to {:?}: {sent} sent, {redirected_in} redirected, {arrived} arrived; {grown:?}",
                ENDS[from],
                ENDS[to]
            );
            ensure!(arrived > bytes / 1460, "{arrived} segments for {bytes} bytes");
            // Only the fast path by TC goes past a hook, and then with nearly all.
            let wanted = if datapath == "tc" && from == near { arrived * 9 / 10 } else { 0 };
            ensure!((redirected_in > 0) == (wanted > 0) && redirected_in >= wanted, "{grown:?}");
        }
    }
    Ok(())
}

/// Offloads of all four ends.
fn switch(setting: &str) -> Result<()> {
    ENDS.into_iter().try_for_each(|(netns, interface)| {
        inside(netns, &format!("ethtool -K {interface} {setting}")).map(drop)
    })
}

fn what_is_put_in_comes_out(node: &Node, shape: Shape, by: Option<By>) -> Result<()> {
    let (datapath, _daemon) = match by {
        None => {
            make_pods(node, shape, "observe")?;
            ("observe", Agent::start(node, "")?)
        }
        Some(by) => {
            let daemon = pods_by(node, shape, by)?;
            fast_by(node, &daemon, by)?;
            (by.word(), daemon)
        }
    };
    balances(node, datapath)?;
    switch("tso off")?;
    balances(node, datapath).context("without TSO")?;
    // What XDP needs is not for others to switch.
    if by != Some(By::Xdp) {
        switch("gro on")?;
        balances(node, datapath).context("without TSO and with GRO")?;
    }
    Ok(())
}

#[test]
fn what_is_put_into_an_observed_pair_comes_out() {
    on_node(|node| what_is_put_in_comes_out(node, Shape::Bridged, None));
}

#[test]
fn what_is_redirected_into_a_pair_on_a_bridge_comes_out() {
    on_node(|node| what_is_put_in_comes_out(node, Shape::Bridged, Some(By::Tc)));
}

#[test]
fn what_is_redirected_into_a_routed_pair_comes_out() {
    on_node(|node| what_is_put_in_comes_out(node, Shape::Routed, Some(By::Tc)));
}

#[test]
fn what_xdp_redirects_into_a_pair_comes_out() {
    on_node(|node| what_is_put_in_comes_out(node, Shape::Bridged, Some(By::Xdp)));
}
