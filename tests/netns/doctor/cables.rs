//! Faults of a pair itself.

use std::time::Duration;

use anyhow::ensure;
use veth_agent::shell::quote;
use veth_tests::{
    Foreign, agent, cured, doctor, expected, healthy, mend, on_node, run, shell, try_run,
};

use super::{answers, answers_soon, direct, routed};

#[test]
fn an_end_that_is_down() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green link set tap2 down")?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        let finding = cured(node, "down", "green/tap2")?;
        ensure!(finding.pair.as_deref() == Some("demo"), "{finding:?}");
        ensure!(finding.evidence.iter().any(|it| it.contains("orange/tap1 has no carrier")));
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// Its routes go with it, and come again with the mend.
#[test]
fn an_end_of_a_routed_pod_that_is_down() {
    on_node(|node| {
        routed(node)?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        run("ip -n red link set red1 down")?;
        cured(node, "down", "red/red1")?;
        answers_soon(node, "red", "10.1.3.2", 56)
    });
}

#[test]
fn a_bridge_that_is_down() {
    on_node(|node| {
        super::bridged(node)?;
        run("ip link set br0 down")?;
        ensure!(!answers("red", "10.0.0.3", 56)?);
        cured(node, "down", "host/br0")?;
        answers_soon(node, "red", "10.0.0.3", 56)
    });
}

#[test]
fn both_ends_down_are_two_findings() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange link set tap1 down")?;
        run("ip -n green link set tap2 down")?;
        let found = doctor("")?;
        ensure!(found.len() == 2 && found.iter().all(|it| it.check == "down"), "{found:?}");
        for finding in &found {
            mend(node, finding)?;
        }
        healthy(node)
    });
}

/// One end deleted: both are gone. What remains are namespaces that were made for them.
#[test]
fn a_deleted_end() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange link del tap1")?;
        let found = doctor("")?;
        ensure!(found.len() == 2 && found.iter().all(|it| it.check == "gone"), "{found:?}");
        let asked = doctor("demo")?;
        ensure!(asked.len() == 1 && asked[0].check == "gone", "{asked:?}");
        mend(node, &asked[0])?;
        healthy(node)?;
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

#[test]
fn a_deleted_namespace() {
    on_node(|node| {
        direct(node)?;
        run("ip netns del orange")?;
        node.eventually("the pair goes", Duration::from_secs(20), || {
            Ok(veth_tests::listed()?.is_empty().then_some(()))
        })?;
        cured(node, "gone", "green/lo")?;
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// Its peer's namespace has lost its name, and lives on because somebody holds a file. While its peer is up,
/// somebody may be at work there.
#[test]
fn a_leaked_end() {
    on_node(|node| {
        let lose = |up: &str| {
            node.netns("lost")?;
            run("ip link add h0 type veth peer name eth0 netns lost")?;
            run("ip link set h0 up")?;
            run(&format!("ip -n lost link set eth0 {up}"))?;
            let held = std::fs::File::open("/run/netns/lost")?;
            run("ip netns del lost")?;
            Ok::<_, anyhow::Error>(held)
        };
        let at_work = lose("up")?;
        let found = doctor("")?;
        let [only] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        ensure!(only.check == "leaked" && only.at == "host/h0", "{only:?}");
        ensure!(only.severity == "warning" && only.mend.is_none(), "{only:?}");
        drop(at_work);
        healthy(node)?;
        let _idle = lose("down")?;
        cured(node, "leaked", "host/h0")?;
        Ok(())
    });
}

/// A namespace that is about to go takes its ends along, if it has to wait for others, too.
#[test]
fn an_end_that_is_about_to_go_is_not_leaked() {
    on_node(|node| {
        node.netns("going")?;
        run("ip link add h0 type veth peer name eth0 netns going")?;
        let held = std::fs::File::open("/run/netns/going")?;
        run("ip netns del going")?;
        let going = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            drop(held);
        });
        let found = doctor("")?;
        ensure!(going.join().is_ok());
        ensure!(found.iter().all(|it| it.check != "leaked"), "{found:#?}");
        Ok(())
    });
}

/// An end whose name is no text is not read. That is no reason to call the other one leaked.
#[test]
fn a_peer_that_cannot_be_read_is_not_leaked() {
    on_node(|node| {
        node.netns("blue")?;
        let made = "ip link add h0 type veth peer name \"$(printf 'a\\377')\" netns blue";
        ensure!(shell(made)?.code == 0);
        run("ip link set h0 up")?;
        let said = agent("doctor")?;
        ensure!(!said.stdout.contains("link del") && !said.stdout.contains("h0: "), "{said:?}");
        ensure!(said.stdout.contains("not known: the other end of host/h0, in blue"), "{said:?}");
        Ok(())
    });
}

/// What people see is what they type: whatever a name holds, the mend in the text works.
#[test]
fn names_that_a_shell_would_take_apart() {
    on_node(|node| {
        let names = [r"a'b\$(x)", "*;`x`", "\u{1b}[31mx\u{7f}", "-n", "ünïcödé15.."];
        for (nth, name) in names.into_iter().enumerate() {
            let netns = format!("n {nth}; \"$(exit)\"");
            let (name, netns) = (quote(name), quote(&netns));
            let made = format!(
                "ip netns add {netns}; ip link add h{nth} type veth peer name {name} netns {netns}"
            );
            let output = shell(&made)?;
            ensure!(output.code == 0, "{made}: {output:?}");
            run(&format!("ip addr add 10.{nth}.0.1/24 dev h{nth}"))?;
        }
        for _ in 0..2 {
            let text = agent("doctor")?.stdout;
            ensure!(!text.contains('\u{1b}') && !text.contains('\u{7f}'), "{text}");
            let mends = text.lines().filter_map(|line| line.strip_prefix("  mend: "));
            let mends: Vec<_> = mends.collect();
            ensure!(mends.len() >= names.len(), "{text}");
            for mend in mends {
                let output = shell(mend)?;
                ensure!(output.code == 0, "{mend}: {output:?}");
            }
        }
        healthy(node)
    });
}

#[test]
fn an_end_that_answers_no_arp() {
    on_node(|node| {
        direct(node)?;
        run("ip -n green link set tap2 arp off")?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        cured(node, "neighbour", "green/tap2")?;
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

#[test]
fn a_bridge_that_answers_no_arp() {
    on_node(|node| {
        super::bridged(node)?;
        run("ip link set br0 arp off")?;
        ensure!(!answers("red", "10.0.0.1", 56)?);
        cured(node, "neighbour", "host/br0")?;
        answers_soon(node, "red", "10.0.0.1", 56)
    });
}

#[test]
fn a_wrong_permanent_neighbour() {
    on_node(|node| {
        direct(node)?;
        run(
            "ip -n orange neigh replace 192.168.1.3 lladdr 02:00:00:00:00:99 dev tap1 nud permanent",
        )?;
        ensure!(!answers("orange", "192.168.1.3", 56)?);
        cured(node, "neighbour", "orange/tap1")?;
        answers_soon(node, "orange", "192.168.1.3", 56)
    });
}

/// Neighbour discovery in vain: the other side drops it.
#[test]
fn an_unanswered_neighbour() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange addr add fd00::2/64 dev tap1 nodad")?;
        run("ip -n green addr add fd00::3/64 dev tap2 nodad")?;
        answers_soon(node, "orange", "fd00::3", 56)?;
        run("ip -n orange neigh flush dev tap1")?;
        let eat = "nsenter --net=/run/netns/green nft";
        run(&format!("{eat} add table ip6 t"))?;
        run(&format!("{eat} add chain ip6 t in {{ type filter hook input priority 0 ; }}"))?;
        run(&format!("{eat} add rule ip6 t in icmpv6 type nd-neighbor-solicit drop"))?;
        ensure!(!answers("orange", "fd00::3", 56)?);
        let finding = node.eventually("asked in vain", Duration::from_secs(20), || {
            let found = doctor("")?;
            Ok(found.into_iter().find(|it| it.check == "neighbour"))
        })?;
        ensure!(finding.at == "orange/tap1" && finding.what.contains("fd00::3"), "{finding:?}");
        run(&format!("{eat} delete table ip6 t"))?;
        mend(node, &finding)?;
        healthy(node)
    });
}

#[test]
fn ipv6_switched_off_on_one_side() {
    on_node(|node| {
        direct(node)?;
        run("ip -n orange addr add fd00::2/64 dev tap1 nodad")?;
        run("nsenter --net=/run/netns/green sysctl -qw net.ipv6.conf.tap2.disable_ipv6=1")?;
        cured(node, "ipv6-disabled", "green/tap2")?;
        Ok(())
    });
}

/// With the switch the addresses are gone, and the mend brings the one that is sent to.
#[test]
fn ipv6_switched_off_on_a_gateway() {
    on_node(|node| {
        routed(node)?;
        run("ip addr add fd02::1/64 dev red0 nodad")?;
        run("ip -n red addr add fd02::2/64 dev red1 nodad")?;
        run("ip -n red -6 route add default via fd02::1")?;
        run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        run("sysctl -qw net.ipv6.conf.red0.disable_ipv6=1")?;
        ensure!(!answers("red", "fd02::1", 56)?);
        cured(node, "ipv6-disabled", "host/red0")?;
        answers_soon(node, "red", "fd02::1", 56)
    });
}

/// A shaper drops by design, as that of the bandwidth plugin of CNI: only much is told of, and the limit stays.
#[test]
fn a_shaper_that_drops_much() {
    on_node(|node| {
        direct(node)?;
        let flood = |tbf: &str, count: u32| {
            run(&format!("tc -n orange qdisc replace dev tap1 root tbf {tbf}"))?;
            let ping = format!("ping -q -f -c {count} -W 1 -s 1000 192.168.1.3");
            try_run(&format!("nsenter --net=/run/netns/orange {ping}"))
        };
        flood("rate 8kbit burst 1600 limit 1600", 50)?;
        let found = doctor("")?;
        let [only] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        ensure!(only.check == "qdisc" && only.at == "orange/tap1", "{only:?}");
        ensure!(only.evidence[0].contains("dropped") && only.mend.is_none(), "{only:?}");
        run("tc -n orange qdisc del dev tap1 root")?;
        healthy(node)?;
        // Two do not fit, of a hundred.
        flood("rate 1gbit burst 100k limit 100k", 100)?;
        run("tc -n orange qdisc change dev tap1 root tbf rate 8kbit burst 1600 limit 1600")?;
        try_run("nsenter --net=/run/netns/orange ping -q -l 4 -c 4 -W 1 -s 1000 192.168.1.3")?;
        let shown = run("tc -n orange -s qdisc show dev tap1 root")?.stdout;
        ensure!(shown.contains("dropped ") && !shown.contains("dropped 0"), "{shown}");
        healthy(node)
    });
}

/// A filter ahead of ours blinds it.
#[test]
fn a_filter_ahead_of_ours() {
    on_node(|node| {
        direct(node)?;
        ensure!(agent("detach --all")?.code == 0);
        run("tc -n green qdisc add dev tap2 clsact")?;
        let matchall = "protocol all pref 1 u32 match u32 0 0 flowid 1:1";
        run(&format!("tc -n green filter add dev tap2 ingress {matchall}"))?;
        let file = node.scratch().join("topology.yaml");
        let applied = agent(&format!("apply --attach clsact -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        cured(node, "hook", "green/tap2")?;
        Ok(())
    });
}

/// One with a program does, too, and ours would come behind it again.
#[test]
fn a_filter_with_a_program_ahead_of_ours() {
    on_node(|node| {
        direct(node)?;
        ensure!(agent("detach --all")?.code == 0);
        run("tc -n green qdisc add dev tap2 clsact")?;
        let thief = Foreign::load("thief")?;
        thief.filter("green", "tap2", "pref 1")?;
        let file = node.scratch().join("topology.yaml");
        let applied = agent(&format!("apply --attach clsact -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        let finding = cured(node, "hook", "green/tap2")?;
        let mend = finding.mend.clone().unwrap_or_default();
        ensure!(mend.ends_with("filter del dev tap2 ingress pref 1"), "{finding:?}");
        Ok(())
    });
}

/// Somebody's program is put first afterwards.
#[test]
fn a_program_ahead_of_ours() {
    on_node(|node| {
        if !expected(veth_agent::preflight::Feature::Tcx) {
            return Ok(());
        }
        direct(node)?;
        let mut foreign = Foreign::load("thief")?;
        foreign.attach(node, "green", "tap2", true)?;
        let finding = cured(node, "hook", "green/tap2")?;
        ensure!(finding.what.contains(&format!("(id {})", foreign.id()?)), "{finding:?}");
        Ok(())
    });
}
