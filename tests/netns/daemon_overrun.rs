//! Events that the kernel had to drop.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use veth_tests::{Agent, ListedEnd, Node, listed, on_node, run};

const PAIRS: usize = 40;

/// Many more events than any socket holds, with pairs that come and one that goes among them.
fn flood(node: &Node) -> Result<()> {
    let mut batch = "link add flap0 type veth peer name flap1\n".to_owned();
    for round in 0..6000 {
        writeln!(batch, "link set flap0 mtu {}", 1400 + round % 2)?;
    }
    writeln!(batch, "link del old0")?;
    for pair in 0..PAIRS {
        writeln!(batch, "link add n{pair} type veth peer name p{pair}")?;
    }
    run(&format!("ip -batch {}", node.file("flood", &batch)?.display()))?;
    Ok(())
}

#[test]
fn lost_events_are_counted_and_made_good() {
    on_node(|node| {
        run("ip link add old0 type veth peer name old1")?;
        let daemon = Agent::start(node, "")?;
        let lost = || {
            let source = [("source", "netlink")];
            daemon.page()?.value("veth_agent_events_lost_total", &source)
        };
        ensure!(lost()? < 0.5);
        let pid = Pid::from_raw(i32::try_from(daemon.pid())?);
        kill(pid, Signal::SIGSTOP)?;
        flood(node)?;
        kill(pid, Signal::SIGCONT)?;
        node.eventually("the loss is counted", Duration::from_secs(20), || {
            Ok((lost()? > 0.5).then_some(()))
        })?;
        node.eventually("the picture is right", Duration::from_secs(20), || {
            let page = daemon.page()?;
            let pairs: f64 = page.all("veth_agent_pairs", &[]).map(|pairs| pairs.value).sum();
            let right = (pairs - (PAIRS + 1) as f64).abs() < 0.5;
            let listed = listed()?;
            Ok((right && listed.iter().all(ListedEnd::attached)).then_some(()))
        })?;
        let page = daemon.page()?;
        let served = page.all("veth_agent_packets_total", &[("direction", "rx")]);
        // Those of the pair that is gone linger.
        ensure!(served.count() == 2 * (PAIRS + 1) + 2);
        let old = [("interface", "old0")];
        ensure!(page.value("veth_agent_link_up", &old)?.abs() < 0.5);
        Ok(())
    });
}
