//! A trace leaves nothing behind below a `clsact`, whatever has been renamed meanwhile.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{Node, Traced, Tracer, on_node, run};

use super::cable;

/// What is left at the ends.
fn left(ends: [(&str, &str); 2]) -> Result<String> {
    let mut left = String::new();
    for (netns, end) in ends {
        for what in
            ["filter show dev {} ingress", "filter show dev {} egress", "qdisc show dev {} clsact"]
        {
            let what = what.replace("{}", end);
            left += &run(&format!("nsenter --net={netns} tc {what}"))?.stdout;
        }
    }
    Ok(left)
}

fn traced_while(node: &Node, change: impl FnOnce() -> Result<()>) -> Result<Traced> {
    let tracer = Tracer::start(node, "--attach clsact -o json")?;
    change()?;
    let traced = tracer.stop(node, Signal::SIGINT)?;
    ensure!(traced.code == 0 && !traced.said.contains("left behind"), "{traced:?}");
    Ok(traced)
}

#[test]
fn an_end_is_called_otherwise_meanwhile() {
    on_node(|node| {
        cable(node)?;
        traced_while(node, || {
            run("ip -n red link set r1 down")?;
            run("ip -n red link set r1 name other")?;
            run("ip -n red link set other up").map(drop)
        })?;
        let left = left([("/run/netns/red", "other"), ("/run/netns/blue", "b1")])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    });
}

#[test]
fn a_namespace_loses_its_name_meanwhile() {
    on_node(|node| {
        let inhabited = node.unnamed()?;
        run(&format!("ip netns attach red {}", inhabited.pid()))?;
        node.quiet_netns("blue")?;
        run("ip -n red link add r1 up type veth peer name b1 netns blue")?;
        run("ip -n blue link set b1 up")?;
        let path = format!("/proc/{}/ns/net", inhabited.pid());
        traced_while(node, || run("ip netns del red").map(drop))?;
        let left = left([(&path, "r1"), ("/run/netns/blue", "b1")])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    });
}
