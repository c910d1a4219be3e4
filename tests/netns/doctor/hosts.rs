//! Faults of the host between.

use anyhow::ensure;
use veth_agent::preflight::Feature;
use veth_tests::{Agent, Foreign, XdpDrop, cured, healthy, lacks, on_node, run, shell};

use super::{answers, answers_soon, direct, routed};
use crate::drops::with_reasons;

#[test]
fn a_host_that_does_not_forward() {
    on_node(|node| {
        routed(node)?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        run("sysctl -qw net.ipv4.ip_forward=0")?;
        // Pods reach the host, and nothing else.
        ensure!(answers("red", "10.1.2.1", 56)? && !answers("red", "10.1.3.2", 56)?);
        cured(node, "forwarding", "host/red0")?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

#[test]
fn one_link_that_does_not_forward() {
    on_node(|node| {
        routed(node)?;
        run("sysctl -qw net.ipv4.conf.blue0.forwarding=0")?;
        ensure!(!answers("blue", "10.1.2.2", 56)?);
        cured(node, "forwarding", "host/blue0")?;
        answers_soon(node, "blue", "10.1.2.2", 56)
    });
}

#[test]
fn a_host_that_does_not_forward_ipv6() {
    on_node(|node| {
        routed(node)?;
        for (name, net) in [("red", 2), ("blue", 3)] {
            run(&format!("ip addr add fd0{net}::1/64 dev {name}0 nodad"))?;
            run(&format!("ip -n {name} addr add fd0{net}::2/64 dev {name}1 nodad"))?;
            run(&format!("ip -n {name} -6 route add default via fd0{net}::1"))?;
        }
        ensure!(!answers("red", "fd03::2", 56)?);
        cured(node, "forwarding", "host/red0")?;
        answers_soon(node, "red", "fd03::2", 56)
    });
}

/// A pod with two cables sends by the second with the first one's address; strictly looked at, that
/// comes in the wrong way.
#[test]
fn reverse_path_filtering() {
    on_node(|node| {
        routed(node)?;
        run("ip link add net0 type veth peer name net1 netns red")?;
        run("ip addr add 10.1.9.1/24 dev net0")?;
        run("ip link set net0 up")?;
        run("ip -n red addr add 10.1.9.2/24 dev net1")?;
        run("ip -n red link set net1 up")?;
        run("ip -n red route replace default via 10.1.9.1 dev net1 src 10.1.2.2")?;
        run("sysctl -qw net.ipv4.conf.all.rp_filter=0")?;
        run("sysctl -qw net.ipv4.conf.net0.rp_filter=1")?;
        ensure!(!answers("red", "10.1.3.2", 56)?);
        let finding = cured(node, "reverse-path", "host/net0")?;
        ensure!(finding.evidence.iter().any(|it| it.contains("by red0")), "{finding:?}");
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

#[test]
fn a_firewall_that_drops_everything() {
    on_node(|node| {
        direct(node)?;
        let policy = "
            nft add table inet f
            nft add chain inet f in '{ type filter hook input priority 0 ; policy drop ; }'";
        let rule = "
            nft add table inet g
            nft add chain inet g in '{ type filter hook input priority 0 ; }'
            nft add rule inet g in counter drop";
        for (script, named) in [(policy, "policy drop"), (rule, "rule handle")] {
            let inside = "nsenter --net=/run/netns/green sh -ec";
            let built = shell(&format!("{inside} \"{script}\""))?;
            ensure!(built.code == 0, "{built:?}");
            ensure!(!answers("orange", "192.168.1.3", 56)?);
            let finding = cured(node, "firewall", "green/tap2")?;
            ensure!(finding.what.contains(named), "{finding:?}");
            answers_soon(node, "orange", "192.168.1.3", 56)?;
        }
        Ok(())
    });
}

/// `iptables` as it is today: rules of nftables.
#[test]
fn a_rule_of_iptables() {
    on_node(|node| {
        direct(node)?;
        let inside = "nsenter --net=/run/netns/green iptables-nft";
        run(&format!("{inside} -A INPUT -j DROP"))?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        let finding = cured(node, "firewall", "green/tap2")?;
        ensure!(finding.what.contains("nft ip filter INPUT: rule handle"), "{finding:?}");
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// A chain for forwarding in a pod, which forwards nothing, as where containers run in containers.
#[test]
fn a_closed_chain_that_nothing_passes() {
    on_node(|node| {
        routed(node)?;
        let inside = "nsenter --net=/run/netns/red nft";
        run(&format!("{inside} add table ip f"))?;
        run(&format!(
            "{inside} add chain ip f c {{ type filter hook forward priority 0 ; policy drop ; }}"
        ))?;
        healthy(node)?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// A rule that takes some packets: only the kernel's count of drops tells.
#[test]
fn a_rule_that_drops_some_packets() {
    with_reasons(|node| {
        routed(node)?;
        let _daemon = Agent::start(node, "")?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        for (netns, chain, at) in
            [("blue", "input", "blue/blue1"), ("host", "forward", "host/red0")]
        {
            let inside = |command: &str| {
                let enter = if netns == "host" {
                    String::new()
                } else {
                    format!("nsenter --net=/run/netns/{netns} ")
                };
                run(&format!("{enter}nft {command}"))
            };
            inside("add table inet f")?;
            inside(&format!(
                "add chain inet f {chain} {{ type filter hook {chain} priority 0 ; }}"
            ))?;
            inside(&format!("add rule inet f {chain} icmp type echo-request counter drop"))?;
            // A rule that has taken nothing is no finding.
            inside(&format!("add rule inet f {chain} tcp dport 99 counter drop"))?;
            healthy(node)?;
            ensure!(!answers("red", "10.1.3.2", 56)?);
            let finding = cured(node, "firewall", at)?;
            ensure!(finding.evidence[0].contains("dropped as netfilter_drop"), "{finding:?}");
            ensure!(finding.what.contains("rule handle"), "{finding:?}");
            answers_soon(node, "red", "10.1.3.2", 56)?;
            inside("delete table inet f")?;
        }
        Ok(())
    });
}

/// Somebody's program drops: who, and on which hook.
#[test]
fn a_program_that_drops() {
    if lacks(Feature::DropReasons) || lacks(Feature::Tcx) {
        return;
    }
    on_node(|node| {
        direct(node)?;
        let _daemon = Agent::start(node, "")?;
        let mut foreign = Foreign::dropping("eater")?;
        foreign.attach_ingress(node, "green", "tap2")?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        let finding = cured(node, "program", "green/tap2")?;
        ensure!(finding.what.contains(&format!("(id {})", foreign.id()?)), "{finding:?}");
        ensure!(finding.evidence[0].contains("dropped as tc_ingress"), "{finding:?}");
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// The same by XDP: put there by a link, as programs do, or by netlink, as `ip` does.
#[test]
fn an_xdp_program_that_drops() {
    with_reasons(|node| {
        direct(node)?;
        let _daemon = Agent::start(node, "")?;
        let found = |mend: &str| {
            ensure!(!answers("orange", "192.168.1.3", 56)?);
            let finding = cured(node, "program", "green/tap2")?;
            ensure!(finding.what.contains("XDP program"), "{finding:?}");
            ensure!(finding.evidence[0].contains("dropped as xdp"), "{finding:?}");
            ensure!(finding.mend.is_some_and(|it| it.contains(mend)), "{mend}");
            answers_soon(node, "orange", "192.168.1.3", 56)
        };
        let _theirs = node.within("green", || XdpDrop::attach("tap2"))?;
        found("bpftool link detach id ")?;
        let pin = std::path::Path::new("/sys/fs/bpf/eater");
        XdpDrop::pin(pin)?;
        run(&format!(
            "nsenter --net=/run/netns/green ip link set dev tap2 xdpdrv pinned {}",
            pin.display()
        ))?;
        found("ip -n green link set dev tap2 xdp off")
    });
}
