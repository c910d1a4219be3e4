//! Subnets that several use, each in its own way.

use anyhow::ensure;
use veth_tests::{healthy, on_node, run, try_run};

use super::{answers, bridged};

/// Containers whose gateway is on the LAN, beyond a physical port, and that the host has no part in.
#[test]
fn tenants_of_a_bridge() {
    on_node(|node| {
        bridged(node)?;
        run("ip tuntap add lan0 mode tap")?;
        run("ip link set lan0 master br0 up")?;
        for (name, host) in [("red", 5), ("blue", 6)] {
            run(&format!("ip -n {name} addr flush dev {name}1"))?;
            run(&format!("ip -n {name} addr add 203.0.113.{host}/28 dev {name}1"))?;
        }
        healthy(node)?;
        for name in ["red", "blue"] {
            run(&format!("ip -n {name} route add default via 203.0.113.1"))?;
        }
        ensure!(answers("red", "203.0.113.6", 56)?);
        healthy(node)
    });
}

/// Two lines to the world whose routers have one address, chosen between by rules.
#[test]
fn two_segments_of_one_subnet() {
    on_node(|node| {
        node.quiet_netns("router")?;
        for line in ["1", "2"] {
            node.quiet_netns(&format!("w{line}"))?;
            for command in [
                "link add wanN type veth peer name lanN",
                "link set lanN netns wN",
                "link set wanN netns router",
                "-n router addr add 192.168.1.5N/24 dev wanN",
                "-n wN addr add 192.168.1.1/24 dev lanN",
                "-n router link set wanN up",
                "-n wN link set lanN up",
                "-n router rule add from 192.168.1.5N table N",
                "-n router route add default via 192.168.1.1 dev wanN table N",
            ] {
                run(&format!("ip {}", command.replace('N', line)))?;
            }
            let ping = format!("ping -q -c 1 -W 1 -I wan{line} 192.168.1.1");
            ensure!(try_run(&format!("nsenter --net=/run/netns/router {ping}"))?.code == 0);
        }
        healthy(node)
    });
}
