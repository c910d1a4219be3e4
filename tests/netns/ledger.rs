//! The ledger of a pair: what is put into it comes out, segment by segment, however packets travel.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::collect;
use veth_common::counters::EndCounters;
use veth_tests::{
    Agent, Node, Qdisc, RawFrames, agent, bearable, frame, on_node, tcp_bulk, undisturbed,
};

use crate::{
    counts::{self, End, inside},
    fastpath::{By, SOON, Shape, fast_by, make_pods, maps, pods_by},
    mtu_counts::{ENDS, identity},
};

/// The two pairs, by their places in [`ENDS`].
const PAIRS: [[usize; 2]; 2] = [[0, 1], [3, 2]];

/// What the page says of a direction of an end's pair, in segments, where its ledger has begun.
fn unaccounted(
    daemon: &Agent,
    (netns, interface): End<'_>,
    direction: &str,
) -> Result<Option<i64>> {
    let labels = [("netns", netns), ("interface", interface), ("direction", direction)];
    let page = daemon.page()?;
    let mut samples = page.all("veth_agent_pair_unaccounted_segments", &labels);
    let value = samples.next().map(|sample| sample.value as i64);
    ensure!(samples.next().is_none(), "{netns}/{interface} {direction}: more than one");
    Ok(value)
}

fn all_unaccounted(daemon: &Agent, ends: &[End<'_>]) -> Result<Vec<Option<i64>>> {
    let ways = ends.iter().flat_map(|end| ["rx", "tx"].map(|direction| (*end, direction)));
    ways.map(|(end, direction)| unaccounted(daemon, end, direction)).collect()
}

/// Waits until the ledgers of these ends have begun.
pub fn ledgers_begin(node: &Node, daemon: &Agent, ends: &[End<'_>]) -> Result<()> {
    node.eventually("the ledgers begin", SOON, || {
        Ok(all_unaccounted(daemon, ends)?.iter().all(Option::is_some).then_some(()))
    })
}

/// At rest, nothing is unaccounted for.
pub fn ledgers_balance(node: &Node, daemon: &Agent, ends: &[End<'_>]) -> Result<()> {
    let mut found = Vec::new();
    let balanced = node.eventually("the ledgers balance", SOON, || {
        found = all_unaccounted(daemon, ends)?;
        Ok(found.iter().all(|segments| *segments == Some(0)).then_some(()))
    });
    balanced.with_context(|| format!("{ends:?}: {found:?}"))
}

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
    let (datapath, daemon) = match by {
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
    ledgers_begin(node, &daemon, &ENDS)?;
    balances(node, datapath)?;
    ledgers_balance(node, &daemon, &ENDS)?;
    switch("tso off")?;
    balances(node, datapath).context("without TSO")?;
    ledgers_balance(node, &daemon, &ENDS)?;
    // What XDP needs is not for others to switch.
    if by != Some(By::Xdp) {
        switch("gro on")?;
        balances(node, datapath).context("without TSO and with GRO")?;
        ledgers_balance(node, &daemon, &ENDS)?;
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

/// Frames that go past the egress hook come out of nowhere, and the ledger says so; a second agent goes on
/// with the same books, and a ledger that begins late begins at zero.
#[test]
fn what_nobody_put_in_is_told() {
    on_node(|node| {
        let daemon = crate::drops::pair(node)?;
        let ends = [crate::drops::RED, crate::drops::BLUE];
        ledgers_begin(node, &daemon, &ends)?;
        let smuggle = |count| {
            node.within("red", || {
                let (frames, frame) = (RawFrames::on("r1", Qdisc::Bypass)?, frame(0x88b5, &[], 60));
                (0..count).try_for_each(|_| frames.send(&frame))
            })
        };
        let becomes = |daemon: &Agent, wanted: i64| {
            node.eventually(&format!("{wanted}"), SOON, || {
                let there = unaccounted(daemon, ends[0], "tx")?;
                let same = unaccounted(daemon, ends[1], "rx")?;
                Ok((there == Some(wanted) && same == Some(wanted)).then_some(()))
            })
        };
        smuggle(50)?;
        becomes(&daemon, -50)?;
        ensure!(unaccounted(&daemon, ends[0], "rx")? == Some(0));
        daemon.kill()?;
        let daemon = Agent::start(node, "")?;
        smuggle(7)?;
        becomes(&daemon, -57)?;
        daemon.stop(node, Signal::SIGTERM)?;
        ensure!(agent("detach --all")?.code == 0);
        let daemon = Agent::start(node, "")?;
        ledgers_balance(node, &daemon, &ends)
    });
}

/// The kernel gives who sends to a group that it has joined, or to all, a copy: that has passed no cable.
#[test]
fn what_a_sender_hears_of_itself_passes_no_pair() {
    on_node(|node| {
        let daemon = crate::drops::pair(node)?;
        let (red, blue) = (crate::drops::RED, crate::drops::BLUE);
        ledgers_begin(node, &daemon, &[red, blue])?;
        let [before] = counts::at_rest(node, &daemon, [blue])?;
        crate::trace::send_to_all(node, 50)?;
        let [after] = counts::at_rest(node, &daemon, [blue])?;
        let grown = after.since(before);
        ensure!(grown.agent.tx.packets >= 100 && grown.device() == grown.counted(), "{grown:?}");
        ledgers_balance(node, &daemon, &[red, blue])
    });
}
