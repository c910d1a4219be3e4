//! The daemon and `apply` at the same time.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{Agent, Background, Node, agent, link_stats, on_node, run};

const PAIRS: usize = 8;

fn topology() -> Result<String> {
    let mut text = "pairs:\n".to_owned();
    for pair in 0..PAIRS {
        let ends = format!(
            "[{{ interface: h{pair}, addresses: [10.0.{pair}.1/24] }}, \
             {{ namespace: n{pair}, interface: eth0, addresses: [10.0.{pair}.2/24] }}]"
        );
        writeln!(text, "  - {{ name: p{pair}, ends: {ends} }}")?;
    }
    text += "namespaces:\n";
    for pair in 0..PAIRS {
        writeln!(text, "  - name: n{pair}")?;
    }
    Ok(text)
}

/// Totals of an end by the kernel and by the page, which must agree once nothing moves. What IPv6
/// sends before the other end is up passes the hook and is dropped behind it.
fn equal(node: &Node, daemon: &Agent, netns: &str, interface: &str) -> Result<()> {
    let kernel = || {
        let stats = link_stats(netns, interface)?;
        Ok::<_, anyhow::Error>([stats.rx_packets, stats.tx_packets + stats.tx_dropped])
    };
    node.eventually("the end is served, and no traffic", Duration::from_secs(20), || {
        let before = kernel()?;
        let page = daemon.page()?;
        let count = |way| page.count("veth_agent_packets_total", netns, interface, way);
        let (Ok(rx), Ok(tx)) = (count("rx"), count("tx")) else { return Ok(None) };
        // Of an earlier bearer of the name the last counts linger, and it is down.
        let labels = [("netns", netns), ("interface", interface)];
        let up = page.value("veth_agent_link_up", &labels).is_ok_and(|up| up > 0.5);
        if before != kernel()? || !up {
            return Ok(None);
        }
        ensure!([rx, tx] == before, "{netns}/{interface}: {rx}, {tx} of {before:?}");
        Ok(Some(()))
    })
}

#[test]
fn what_apply_attaches_is_not_taken_for_garbage() {
    on_node(|node| {
        // Keeps the daemon looking, so that it looks before, while and after `apply` works.
        run("ip link add busy0 type veth peer name busy1")?;
        let toggle = "while :; do ip link set busy0 mtu 1400; ip link set busy0 mtu 1500; \
                      ip link add passing0 type veth peer name passing1; ip link del passing0; done";
        let _events = Background::start(&format!("sh {}", node.file("t.sh", toggle)?.display()))?;
        let daemon = Agent::start(node, "")?;
        let file = node.file("many.yaml", &topology()?)?.display().to_string();
        for _ in 0..3 {
            let applied = agent(&format!("apply -f {file}"))?;
            ensure!(applied.code == 0, "{}", applied.stderr);
            for pair in 0..PAIRS {
                run(&format!("ping -q -f -c 20 10.0.{pair}.2"))?;
            }
            for pair in 0..PAIRS {
                equal(node, &daemon, "host", &format!("h{pair}"))?;
                equal(node, &daemon, &format!("n{pair}"), "eth0")?;
            }
            let deleted = agent(&format!("delete -f {file}"))?;
            ensure!(deleted.code == 0, "{}", deleted.stderr);
        }
        daemon.stop(node, Signal::SIGTERM)?;
        Ok(())
    });
}
