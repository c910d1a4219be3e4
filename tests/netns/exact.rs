//! Counters are exact: equal to the kernel's own, to the last packet, and the programs' own work.

use anyhow::{Result, ensure};
use aya::{
    programs::ProgramInfo,
    sys::{Stats, enable_stats},
};
use veth_agent::{
    datapath::{DEFAULT_BPFFS, HookName, Pins},
    netns,
};
use veth_tests::{Agent, Node, agent, bearable, on_node, run, tcp_bulk, udp_both_ways};

use crate::counts::{
    End, Reading, Side, assert_equal_but_for_drops, at_rest, attached, join, lacks, quiet,
};

const ENDS: [End<'_>; 2] = [("orange", "tap1"), ("green", "tap2")];
const SITES: [(&str, &str); 2] = [("orange", "192.168.1.2"), ("green", "192.168.1.3")];
/// Bytes of a stream.
const BULK: u64 = 2 << 30;
/// Packets of a flood, at the least.
const FLOOD: u64 = 1_000_000;

const TOPOLOGY: &str = "
namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
";

/// More packets than [`FLOOD`]: small and large, one after the other and both ways at once.
fn flood(node: &Node) -> Result<()> {
    let pings = bearable(20_000);
    run(&format!("nsenter --net=/run/netns/orange ping -q -f -c {pings} 192.168.1.3"))?;
    run(&format!("nsenter --net=/run/netns/green ping -q -f -s 1400 -c {pings} 192.168.1.2"))?;
    udp_both_ways(node, SITES, bearable(FLOOD) / 2, 18)
}

/// The ends after `flood` and after a TCP stream; that each did what it is for is checked here.
fn flood_and_bulk(node: &Node, daemon: &Agent) -> Result<[[Reading; 2]; 2]> {
    let before = at_rest(node, daemon, ENDS)?;
    flood(node)?;
    let flooded = at_rest(node, daemon, ENDS)?;
    let sent: u64 = (0..2).map(|end| flooded[end].since(before[end]).kernel.tx_packets).sum();
    ensure!(sent >= bearable(FLOOD), "only {sent} packets were sent");

    let bulk = bearable(BULK);
    tcp_bulk(node, SITES[0], SITES[1], bulk)?;
    let done = at_rest(node, daemon, ENDS)?;
    let [sender, receiver] = [done[0].since(flooded[0]), done[1].since(flooded[1])];
    for way in [sender.agent.tx, receiver.agent.rx] {
        // A frame of 1,500 bytes carries at most 1,460 of a stream.
        ensure!(way.bytes > bulk && way.segments >= bulk / 1460, "{way:?}");
        ensure!(way.packets * 2 < way.segments, "no GSO: {way:?}");
    }
    for reading in done {
        for way in [reading.agent.rx, reading.agent.tx] {
            ensure!(way.segments >= way.packets, "{way:?}");
        }
    }
    Ok([before, done])
}

fn ends_of_apply(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        let file = node.file("demo.yaml", TOPOLOGY)?;
        let applied = agent(&format!("apply --attach {by} -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        for end in ENDS {
            ensure!(attached(node, end)? == by, "{end:?} is not attached by {by}");
        }
        let daemon = Agent::start(node, &format!("--attach {by}"))?;
        let [_, done] = flood_and_bulk(node, &daemon)?;
        assert_equal_but_for_drops(&done);
        Ok(())
    });
}

#[test]
fn a_million_packets_are_counted_to_the_last_on_ends_that_apply_made() {
    ends_of_apply("tcx");
}

#[test]
fn a_million_packets_are_counted_to_the_last_on_ends_that_apply_made_by_clsact() {
    ends_of_apply("clsact");
}

const ORANGE: Side<'_> = Side { end: ENDS[0], address: SITES[0].1, index: None };
const GREEN: Side<'_> = Side { end: ENDS[1], address: SITES[1].1, index: None };

/// A pair that was in use before the agent came.
fn used_pair(node: &Node) -> Result<()> {
    quiet(node, &["orange", "green"])?;
    join(node, [&ORANGE, &GREEN])?;
    ORANGE.ping(&GREEN, 100)
}

fn ends_that_were_there(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        used_pair(node)?;
        let daemon = Agent::start(node, &format!("--attach {by}"))?;
        for end in ENDS {
            ensure!(attached(node, end)? == by, "{end:?} is not attached by {by}");
        }
        let [before, done] = flood_and_bulk(node, &daemon)?;
        for (then, now) in before.into_iter().zip(done) {
            ensure!(then.kernel.tx_packets == 100, "not at rest: {then:?}");
            ensure!(then.agent == Default::default(), "counted before it came: {then:?}");
            assert_equal_but_for_drops(&[now.since(then)]);
        }
        Ok(())
    });
}

#[test]
fn a_million_packets_are_counted_to_the_last_on_ends_that_were_there() {
    ends_that_were_there("tcx");
}

#[test]
fn a_million_packets_are_counted_to_the_last_on_ends_that_were_there_by_clsact() {
    ends_that_were_there("clsact");
}

/// How often the programs of a namespace have run: ingress, egress.
fn runs(node: &Node, netns: &str) -> Result<[u64; 2]> {
    let cookie = node.within(netns, || Ok(netns::cookie()?))?;
    let pins = Pins::at(DEFAULT_BPFFS.as_ref());
    let count = |hook| -> Result<u64> {
        Ok(ProgramInfo::from_pin(pins.program(cookie, hook))?.run_count())
    };
    Ok([count(HookName::Ingress)?, count(HookName::Egress)?])
}

fn packets_are_runs(by: &'static str) {
    if lacks(by) {
        return;
    }
    on_node(move |node| {
        used_pair(node)?;
        let daemon = Agent::start(node, &format!("--attach {by}"))?;
        // The kernel counts runs for as long as somebody holds this.
        let _counting = enable_stats(Stats::RunTime)?;
        let before = at_rest(node, &daemon, ENDS)?;
        let ran = [runs(node, "orange")?, runs(node, "green")?];
        ORANGE.ping(&GREEN, bearable(5_000))?;
        udp_both_ways(node, SITES, bearable(50_000), 600)?;
        tcp_bulk(node, SITES[0], SITES[1], bearable(256 << 20))?;
        let done = at_rest(node, &daemon, ENDS)?;
        for (index, (netns, _)) in ENDS.into_iter().enumerate() {
            let now = runs(node, netns)?;
            let counted = done[index].since(before[index]).agent;
            assert_eq!(now[0] - ran[index][0], counted.rx.packets, "{netns} ingress");
            assert_eq!(now[1] - ran[index][1], counted.tx.packets, "{netns} egress");
            ensure!(counted.tx.packets > bearable(50_000), "{counted:?}");
        }
        Ok(())
    });
}

#[test]
fn every_packet_is_a_run_of_our_program() {
    packets_are_runs("tcx");
}

#[test]
fn every_packet_is_a_run_of_our_program_by_clsact() {
    packets_are_runs("clsact");
}
