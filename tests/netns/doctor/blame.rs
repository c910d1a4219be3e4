//! Who has dropped, where several could have.

use anyhow::{Context as _, Result, ensure};
use veth_agent::preflight::Feature;
use veth_tests::{
    Agent, Finding, Foreign, Node, agent, cured, doctor, expected, healthy, lacks, mend, on_node,
    run, shell,
};

use super::{answers, answers_soon, bridged, direct, routed, uplink};
use crate::drops::with_reasons;

/// A ruleset as `nft -f` reads it.
fn ruleset(node: &Node, text: &str) -> Result<()> {
    let file = node.file("rules.nft", text)?;
    run(&format!("nft -f {}", file.display()))?;
    Ok(())
}

/// Routed pods, counted, and the first one cut off from the other by this ruleset of the host.
fn cut_off(node: &Node, text: &str) -> Result<Agent> {
    routed(node)?;
    let daemon = Agent::start(node, "")?;
    answers_soon(node, "red", "10.1.3.2", 56)?;
    ruleset(node, text)?;
    ensure!(!answers("red", "10.1.3.2", 56)?);
    Ok(daemon)
}

/// The only finding, by which nobody is blamed and nothing is to be removed.
fn unsure() -> Result<Finding> {
    let found = doctor("")?;
    let [only] = found.as_slice() else { anyhow::bail!("{found:#?}") };
    ensure!(only.check == "firewall" && only.severity == "warning", "{only:?}");
    ensure!(only.at == "host/red0" && only.mend.is_none(), "{only:?}");
    ensure!(agent("doctor")?.stdout.contains("(possible)"));
    Ok(only.clone())
}

/// A policy has no counter, and the rules beside it are no more to blame.
#[test]
fn a_policy_drops_beside_rules_that_do_not() {
    with_reasons(|node| {
        let _daemon = cut_off(
            node,
            "table inet filter {
                chain forward {
                    type filter hook forward priority 0; policy drop;
                    ct state established,related accept
                    ct state invalid drop
                    ip daddr 10.1.3.2 tcp dport 80 accept
                }
            }",
        )?;
        let finding = unsure()?;
        ensure!(finding.what.contains("nft inet filter forward, policy drop"), "{finding:?}");
        run("nft add rule inet filter forward accept")?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// A rule of another chain has counted something, and it is not what is missed.
#[test]
fn a_rule_of_another_chain_is_not_to_blame() {
    with_reasons(|node| {
        let _daemon = cut_off(
            node,
            "table inet filter {
                chain input {
                    type filter hook input priority 0;
                    tcp dport 23 counter packets 1 bytes 60 drop
                }
                chain forward {
                    type filter hook forward priority 0; policy drop;
                    ip daddr 10.1.3.2 tcp dport 80 accept
                }
            }",
        )?;
        let finding = unsure()?;
        ensure!(finding.what.contains("nft inet filter forward, policy drop"), "{finding:?}");
        ensure!(finding.what.contains("has dropped"), "{finding:?}");
        Ok(())
    });
}

/// A rule that no base chain leads to, or one of another hook that nothing comes to, drops nothing.
#[test]
fn a_rule_that_nothing_comes_to_is_not_to_blame() {
    with_reasons(|node| {
        let _daemon = cut_off(
            node,
            "table inet filter {
                chain lone { tcp dport 23 drop; }
                chain drops { ip protocol icmp counter drop; }
                chain forward {
                    type filter hook forward priority 0;
                    meta l4proto vmap { icmp : jump drops }
                }
            }
            table bridge b {
                chain forward {
                    type filter hook forward priority 0;
                    ether type 0x1234 drop
                }
            }",
        )?;
        let finding = cured(node, "firewall", "host/red0")?;
        ensure!(finding.what.contains("drops packets: nft inet filter drops"), "{finding:?}");
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// What a rule dropped that is gone is not laid to the one that is left, unless that one drops now.
#[test]
fn old_drops_are_not_laid_to_another_rule() {
    with_reasons(|node| {
        let _daemon = cut_off(
            node,
            "table inet filter {
                chain forward {
                    type filter hook forward priority 0;
                    ct state invalid drop
                    ip saddr 10.1.2.2 counter drop
                }
            }",
        )?;
        let found = doctor("")?;
        let [culprit] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        let remove = culprit.mend.clone().context("no mend")?;
        ensure!(remove.contains("inet filter forward handle"), "{culprit:?}");
        mend(node, culprit)?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        let finding = unsure()?;
        ensure!(finding.what.contains("has dropped"), "{finding:?}");
        run("nft flush chain inet filter forward")?;
        healthy(node)?;
        run("nft add rule inet filter forward ip protocol icmp drop")?;
        let pings = "ping -q -i 0.2 -W 1 10.1.3.2 > /dev/null 2>&1";
        let started = shell(&format!("ip netns exec red {pings} & echo $!"))?;
        let finding = cured(node, "firewall", "host/red0");
        run(&format!("kill {}", started.stdout.trim()))?;
        ensure!(finding?.what.contains("drops packets"));
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

/// One rule is one finding, however many ends have lost by it.
#[test]
fn one_rule_is_told_once() {
    with_reasons(|node| {
        routed(node)?;
        let _daemon = Agent::start(node, "")?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        ruleset(
            node,
            "table inet filter {
                chain forward { type filter hook forward priority 0; icmp type echo-request counter drop; }
            }",
        )?;
        ensure!(!answers("red", "10.1.3.2", 56)? && !answers("blue", "10.1.2.2", 56)?);
        let found = doctor("")?;
        let [only] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        let evidence = only.evidence.join("; ");
        ensure!(evidence.contains("host/red0") && evidence.contains("host/blue0"), "{only:?}");
        ensure!(evidence.contains("it has taken 2"), "{only:?}");
        ensure!(doctor("blue")?.len() == 1 && doctor("red")?.len() == 1);
        mend(node, only)?;
        healthy(node)
    });
}

/// IPv6 is closed where nobody uses it.
#[test]
fn a_family_that_is_closed_and_not_used() {
    on_node(|node| {
        routed(node)?;
        let _daemon = Agent::start(node, "")?;
        ruleset(
            node,
            "table ip6 filter {
                chain input { type filter hook input priority 0; counter drop; }
                chain forward { type filter hook forward priority 0; policy drop; }
            }",
        )?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        healthy(node)?;
        run("ip addr add fd02::1/64 dev red0 nodad")?;
        run("ip -n red addr add fd02::2/64 dev red1 nodad")?;
        ensure!(!answers("red", "fd02::1", 56)?);
        let found = doctor("")?;
        ensure!(found.iter().all(|it| it.check == "firewall" && it.severity == "error"));
        ensure!(!found.is_empty());
        Ok(())
    });
}

/// A host that bridges, and neither routes nor hands to IP what it bridges.
#[test]
fn a_closed_forward_chain_of_a_bridge() {
    on_node(|node| {
        bridged(node)?;
        uplink(node, 1500)?;
        run("ip route replace default via 10.0.0.2 dev br0")?;
        run("sysctl -qw net.ipv4.ip_forward=0")?;
        if shell("ls /proc/sys/net/bridge")?.code == 0 {
            run("sysctl -qw net.bridge.bridge-nf-call-iptables=0")?;
            run("sysctl -qw net.bridge.bridge-nf-call-ip6tables=0")?;
        }
        let closed = "table inet filter {
            chain forward { type filter hook forward priority 0; policy drop; }
        }";
        ruleset(node, closed)?;
        answers_soon(node, "red", "10.0.0.3", 56)?;
        let found = doctor("")?;
        ensure!(found.iter().all(|it| it.check != "firewall"), "{found:#?}");
        Ok(())
    });
}

/// Chains that `iptables-nft` calls by a keyword of `nft`, or by what a shell would run.
#[test]
fn chains_that_nft_cannot_name() {
    for name in ["limit", "'$(x)'"] {
        if lacks(Feature::DropReasons) {
            return;
        }
        on_node(move |node| {
            direct(node)?;
            let _daemon = Agent::start(node, "")?;
            answers_soon(node, "orange", "192.168.1.3", 56)?;
            let inside = "nsenter --net=/run/netns/green iptables-nft";
            let built = shell(&format!(
                "{inside} -N {name} && {inside} -A INPUT -j {name} &&
                 {inside} -A {name} -p icmp -j DROP"
            ))?;
            ensure!(built.code == 0, "{built:?}");
            ensure!(!answers("orange", "192.168.1.3", 56)?);
            cured(node, "firewall", "green/tap2")?;
            answers_soon(node, "orange", "192.168.1.3", 56)
        });
    }
}

/// Policies and maps drop, too.
#[test]
fn what_drops_without_a_rule() {
    with_reasons(|node| {
        let _daemon = cut_off(
            node,
            "table inet f {
                chain c { type filter hook forward priority 0; ip daddr vmap { 10.1.3.2 : drop }; }
            }",
        )?;
        let finding = unsure()?;
        ensure!(finding.what.contains("nft inet f c: rule handle"), "{finding:?}");
        run("nft delete table inet f")?;
        healthy(node)?;
        ruleset(
            node,
            "table inet f {
                chain c { type filter hook forward priority 0; policy drop; ip daddr 10.9.9.9 accept; }
            }",
        )?;
        ensure!(!answers("red", "10.1.3.2", 56)?);
        let finding = unsure()?;
        ensure!(finding.what.contains("nft inet f c, policy drop"), "{finding:?}");
        run("nft delete table inet f")?;
        healthy(node)
    });
}

/// What the policy of legacy iptables has taken, it counts.
#[test]
fn a_policy_of_legacy_iptables() {
    if lacks(Feature::DropReasons) || !veth_tests::built_with("CONFIG_IP_NF_FILTER") {
        return;
    }
    on_node(|node| {
        routed(node)?;
        let _daemon = Agent::start(node, "")?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        run("iptables-legacy -P FORWARD DROP")?;
        ensure!(!answers("red", "10.1.3.2", 56)?);
        let found = doctor("")?;
        let [only] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        ensure!(only.what.contains("iptables table filter FORWARD, policy DROP"), "{only:?}");
        ensure!(only.mend.is_none(), "{only:?}");
        run("iptables-legacy -P FORWARD ACCEPT")?;
        healthy(node)
    });
}

/// A filter behind ours, as `tc` puts it there.
#[test]
fn a_filter_that_drops() {
    with_reasons(|node| {
        direct(node)?;
        let _daemon = Agent::start(node, "")?;
        answers_soon(node, "orange", "192.168.1.3", 56)?;
        if expected(Feature::Tcx) {
            // Elsewhere the agent has added one.
            run("tc -n green qdisc add dev tap2 clsact")?;
        }
        let _eater = Foreign::dropping("eater")?;
        let drop = "pref 7 bpf da object-pinned /sys/fs/bpf/eater";
        for (hook, reason) in [("ingress", "tc_ingress"), ("egress", "tc_egress")] {
            let tc = "nsenter --net=/run/netns/green tc";
            run(&format!("{tc} filter add dev tap2 {hook} {drop}"))?;
            ensure!(!answers("orange", "192.168.1.3", 56)?);
            let finding = cured(node, "program", "green/tap2")?;
            ensure!(finding.what.contains("filter at priority 7"), "{finding:?}");
            ensure!(finding.evidence[0].contains(reason), "{finding:?}");
            answers_soon(node, "orange", "192.168.1.3", 56)?;
        }
        Ok(())
    });
}
