//! Ends that move, and indexes and names that are given again: nothing is counted for another end.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::datapath::{DEFAULT_BPFFS, Pins};
use veth_common::counters::EndCounters;
use veth_tests::{Agent, Node, on_node, run, try_run};

use crate::counts::{
    End, Side, assert_equal, assert_pings, at_rest, attached, carrier, counted, join, lacks, quiet,
    side,
};

const LIMIT: Duration = Duration::from_secs(30);

/// Waits until both ends have programs and none has counted anything.
fn from_zero(node: &Node, daemon: &Agent, ends: [End<'_>; 2]) -> Result<()> {
    for end in ends {
        attached(node, end)?;
        node.eventually(&format!("{end:?} starts from zero"), LIMIT, || {
            let page = daemon.page()?;
            // No series yet, while it is being attached.
            let zero = counted(&page, end).is_ok_and(|counted| counted == EndCounters::default());
            Ok(zero.then_some(()))
        })?;
    }
    Ok(())
}

/// Waits until nothing is pinned but the links of `ends` ends.
fn only_pins_of(node: &Node, ends: usize) -> Result<()> {
    node.eventually("the old links go", LIMIT, || {
        let links = Pins::at(DEFAULT_BPFFS.as_ref()).pinned_links()?;
        Ok((links.len() == 2 * ends).then_some(()))
    })
}

/// Fails unless so many packets passed programs of ours on ends without a slot.
fn unknown(daemon: &Agent, expected: u32) -> Result<()> {
    let labels = [("source", "end_without_slot")];
    let unknown = daemon.page()?.value("veth_agent_events_lost_total", &labels)?;
    ensure!((unknown - f64::from(expected)).abs() < 0.5, "{unknown} instead of {expected}");
    Ok(())
}

/// Moves `from` to `to` and waits until it is served there.
fn move_end(node: &Node, by: &str, from: &Side<'_>, to: &Side<'_>, peer: &Side<'_>) -> Result<()> {
    let (netns, interface) = from.end;
    run(&format!("ip -n {netns} link set {interface} netns {}", to.end.0))?;
    ensure!(attached(node, to.end)? == by, "attached by something else");
    if by == "tcx" {
        only_pins_of(node, 2)?;
    }
    to.up(peer)?;
    carrier(node, to.end)?;
    carrier(node, peer.end)
}

fn moved_while_it_runs(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        quiet(node, &["a", "b", "c"])?;
        let here = side("a", "tap1", "10.0.0.1", Some(40));
        let there = side("c", "tap1", "10.0.0.1", Some(40));
        let peer = side("b", "tap2", "10.0.0.2", Some(40));
        join(node, [&here, &peer])?;
        let daemon = Agent::start(node, &format!("--attach {by}"))?;
        here.ping(&peer, 20)?;
        assert_pings(&at_rest(node, &daemon, [here.end, peer.end])?, &[20, 20]);

        move_end(node, by, &here, &there, &peer)?;
        let [before, _] = at_rest(node, &daemon, [there.end, peer.end])?;
        ensure!(before.agent == EndCounters::default(), "inherited: {before:?}");
        there.ping(&peer, 7)?;
        let [moved, stayed] = at_rest(node, &daemon, [there.end, peer.end])?;
        // The device keeps its statistics when it moves; the end is a new one.
        assert_pings(&[moved.since(before), stayed], &[7, 27]);
        assert_eq!(moved.agent.rx.packets, 7);
        let old = counted(&daemon.page()?, here.end)?;
        assert_eq!((old.rx.packets, old.tx.packets), (20, 20), "counted under its old name");

        move_end(node, by, &there, &here, &peer)?;
        let before = at_rest(node, &daemon, [here.end, peer.end])?;
        here.ping(&peer, 5)?;
        let after = at_rest(node, &daemon, [here.end, peer.end])?;
        assert_pings(&[after[0].since(before[0]), after[1]], &[5, 32]);
        unknown(&daemon, 0)
    });
}

#[test]
fn an_end_that_moves_is_counted_where_it_is() {
    moved_while_it_runs("tcx");
}

#[test]
fn an_end_that_moves_is_counted_where_it_is_by_clsact() {
    moved_while_it_runs("clsact");
}

fn moved_while_none_runs(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        quiet(node, &["a", "b", "c"])?;
        let here = side("a", "tap1", "10.0.0.1", Some(40));
        let peer = side("b", "tap2", "10.0.0.2", Some(41));
        // Where it goes, its index is another end's.
        let there = side("c", "tap1", "10.0.0.1", None);
        let taken = side("c", "taken", "10.0.9.1", Some(40));
        join(node, [&here, &peer])?;
        join(node, [&taken, &side("b", "taken", "10.0.9.2", Some(40))])?;
        let start = || Agent::start(node, &format!("--attach {by}"));
        let daemon = start()?;
        here.ping(&peer, 20)?;
        daemon.stop(node, Signal::SIGTERM)?;

        run("ip -n a link set tap1 netns c")?;
        there.up(&peer)?;
        carrier(node, there.end)?;
        carrier(node, peer.end)?;
        there.ping(&peer, 5)?;
        let daemon = start()?;
        ensure!(attached(node, there.end)? == by, "attached by something else");
        let [before, _] = at_rest(node, &daemon, [there.end, peer.end])?;
        ensure!(before.agent == EndCounters::default(), "inherited: {before:?}");
        there.ping(&peer, 7)?;
        let [moved, stayed, other] = at_rest(node, &daemon, [there.end, peer.end, taken.end])?;
        assert_pings(&[moved.since(before), stayed, other], &[7, 32, 0]);
        // TCX programs move with their end, and saw the pings that came before us, both ways.
        unknown(&daemon, if by == "tcx" { 10 } else { 0 })
    });
}

#[test]
fn an_end_that_moves_while_no_agent_runs_is_counted_where_it_is() {
    moved_while_none_runs("tcx");
}

#[test]
fn an_end_that_moves_while_no_agent_runs_is_counted_where_it_is_by_clsact() {
    moved_while_none_runs("clsact");
}

const ONE: Side<'_> = side("a", "tap1", "10.0.0.1", Some(77));
const TWO: Side<'_> = side("b", "tap2", "10.0.0.2", Some(77));
const ENDS: [End<'_>; 2] = [ONE.end, TWO.end];

/// Another pair of the same names and indexes takes the place of the first.
fn swap(node: &Node) -> Result<()> {
    run("ip -n a link delete tap1")?;
    join(node, [&ONE, &TWO])
}

fn reused_while_it_runs(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        quiet(node, &["a", "b"])?;
        join(node, [&ONE, &TWO])?;
        let daemon = Agent::start(node, &format!("--attach {by}"))?;
        for round in [50, 3, 9] {
            ONE.ping(&TWO, round)?;
            assert_pings(&at_rest(node, &daemon, ENDS)?, &[round; 2]);
            swap(node)?;
            from_zero(node, &daemon, ENDS)?;
        }
        unknown(&daemon, 0)
    });
}

#[test]
fn an_index_that_is_given_again_inherits_nothing() {
    reused_while_it_runs("tcx");
}

#[test]
fn an_index_that_is_given_again_inherits_nothing_by_clsact() {
    reused_while_it_runs("clsact");
}

fn reused_while_none_runs(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        quiet(node, &["a", "b"])?;
        join(node, [&ONE, &TWO])?;
        let start = || Agent::start(node, &format!("--attach {by}"));
        let daemon = start()?;
        ONE.ping(&TWO, 50)?;
        assert_pings(&at_rest(node, &daemon, ENDS)?, &[50, 50]);
        daemon.stop(node, Signal::SIGTERM)?;

        // Without an agent the programs go on counting for the ends that they are on.
        ONE.ping(&TWO, 10)?;
        let daemon = start()?;
        assert_pings(&at_rest(node, &daemon, ENDS)?, &[60, 60]);
        daemon.kill()?;

        swap(node)?;
        let daemon = start()?;
        from_zero(node, &daemon, ENDS)?;
        ONE.ping(&TWO, 4)?;
        assert_pings(&at_rest(node, &daemon, ENDS)?, &[4, 4]);
        unknown(&daemon, 0)
    });
}

#[test]
fn an_index_that_is_given_again_while_no_agent_runs_inherits_nothing() {
    reused_while_none_runs("tcx");
}

#[test]
fn an_index_that_is_given_again_while_no_agent_runs_inherits_nothing_by_clsact() {
    reused_while_none_runs("clsact");
}

#[test]
fn a_namespace_of_the_same_name_inherits_nothing() {
    on_node(|node| {
        quiet(node, &["a", "b"])?;
        join(node, [&ONE, &TWO])?;
        let daemon = Agent::start(node, "")?;
        ONE.ping(&TWO, 50)?;
        let [before, _] = at_rest(node, &daemon, ENDS)?;
        assert_equal(&[before]);

        run("ip netns delete a")?;
        node.eventually("the pair goes with its namespace", LIMIT, || {
            let shown = try_run("ip -n b link show dev tap2")?;
            Ok((shown.code != 0).then_some(()))
        })?;
        quiet(node, &["a"])?;
        join(node, [&ONE, &TWO])?;
        from_zero(node, &daemon, ENDS)?;
        ONE.ping(&TWO, 6)?;
        assert_pings(&at_rest(node, &daemon, ENDS)?, &[6, 6]);
        unknown(&daemon, 0)
    });
}
