//! Where nothing is wrong, nothing is said.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use veth_tests::{
    Agent, agent, alone, built_with, cured, doctor, healthy, on_node, patient, run, skipped,
};

use super::{answers_soon, apply, bridged, direct, routed, uplink};

#[test]
fn two_namespaces_and_two_pods_by_hand() {
    on_node(|node| {
        for (one, other, net) in
            [("orange", "green", "192.168.1"), ("pod-red", "pod-blue", "10.0.1")]
        {
            for name in [one, other] {
                node.netns(name)?;
            }
            run(&format!(
                "ip link add t-{one} netns {one} type veth peer name t-{other} netns {other}"
            ))?;
            for (name, host) in [(one, 2), (other, 3)] {
                run(&format!("ip -n {name} addr add {net}.{host}/24 dev t-{name}"))?;
                run(&format!("ip -n {name} link set t-{name} up"))?;
            }
        }
        healthy(node)?;
        answers_soon(node, "orange", "192.168.1.3", 56)?;
        answers_soon(node, "pod-red", "10.0.1.3", 56)?;
        healthy(node)
    });
}

#[test]
fn a_host_and_a_namespace_with_routes() {
    on_node(|node| {
        apply(
            node,
            "
namespaces: [{ name: blue }]
pairs:
  - name: blue
    ends:
      - { interface: veth0, addresses: [10.0.0.10/32], routes: [{ to: 10.0.0.1/32 }] }
      - { namespace: blue, interface: veth1, addresses: [10.0.0.1/32], routes: [{ to: 10.0.0.10/32 }, { to: default, via: 10.0.0.10 }] }
",
        )?;
        healthy(node)?;
        answers_soon(node, "blue", "10.0.0.10", 56)?;
        healthy(node)
    });
}

/// Bridged and routed pods, before and after traffic, with and without the daemon.
#[test]
fn pods_with_traffic_and_daemon() {
    on_node(|node| {
        bridged(node)?;
        healthy(node)?;
        answers_soon(node, "red", "10.0.0.3", 56)?;
        answers_soon(node, "red", "10.0.0.1", 56)?;
        let daemon = Agent::start(node, "")?;
        answers_soon(node, "blue", "10.0.0.2", 1472)?;
        healthy(node)?;
        daemon.stop(node, nix::sys::signal::Signal::SIGTERM)?;
        healthy(node)
    });
}

#[test]
fn routed_pods_as_calico_makes_them() {
    on_node(|node| {
        uplink(node, 1500)?;
        for (name, host) in [("red", 2), ("blue", 3)] {
            node.netns(name)?;
            run(&format!("ip link add cali{host} type veth peer name eth0 netns {name}"))?;
            run(&format!("ip link set cali{host} address ee:ee:ee:ee:ee:ee"))?;
            run(&format!("sysctl -qw net.ipv4.conf.cali{host}.proxy_arp=1"))?;
            run(&format!("ip link set cali{host} up"))?;
            run(&format!("ip -n {name} addr add 10.1.0.{host}/32 dev eth0"))?;
            run(&format!("ip -n {name} link set eth0 up"))?;
            run(&format!("ip -n {name} route add 169.254.1.1 dev eth0 scope link"))?;
            run(&format!("ip -n {name} route add default via 169.254.1.1 dev eth0"))?;
            run(&format!("ip route add 10.1.0.{host} dev cali{host}"))?;
        }
        run("sysctl -qw net.ipv4.ip_forward=1")?;
        healthy(node)?;
        answers_soon(node, "red", "10.1.0.3", 56)?;
        healthy(node)
    });
}

#[test]
fn several_pairs_in_one_namespace() {
    on_node(|node| {
        direct(node)?;
        node.netns("third")?;
        run("ip link add t3 netns third type veth peer name o3 netns orange")?;
        run("ip -n third addr add 192.168.3.3/24 dev t3")?;
        run("ip -n orange addr add 192.168.3.2/24 dev o3")?;
        run("ip -n third link set t3 up")?;
        run("ip -n orange link set o3 up")?;
        healthy(node)
    });
}

/// Two ways to one bridge: it is all the same which of them is taken, by the main table or by rules.
#[test]
fn two_ends_in_one_subnet() {
    on_node(|node| {
        bridged(node)?;
        run("ip link add two0 type veth peer name two1 netns red")?;
        run("ip link set two0 master br0 up")?;
        run("ip -n red addr add 10.0.0.12/24 dev two1")?;
        run("ip -n red link set two1 up")?;
        healthy(node)?;
        for (end, address, table) in [("red1", "10.0.0.2", 101), ("two1", "10.0.0.12", 102)] {
            run(&format!("ip -n red rule add from {address} table {table}"))?;
            run(&format!("ip -n red route add 10.0.0.0/24 dev {end} table {table}"))?;
            run(&format!("ip -n red route add default via 10.0.0.1 dev {end} table {table}"))?;
        }
        answers_soon(node, "red", "10.0.0.3", 56)?;
        healthy(node)
    });
}

/// Neither end's namespace has a name, and only processes hold them.
#[test]
fn pods_without_a_name() {
    on_node(|node| {
        let [one, other] = [node.unnamed()?, node.unnamed()?];
        let pids = [one.pid(), other.pid()];
        run(&format!("ip link add c1 netns {} type veth peer name c2 netns {}", pids[0], pids[1]))?;
        for (pid, link, host) in [(pids[0], "c1", 1), (pids[1], "c2", 2)] {
            let inside = format!("nsenter --net=/proc/{pid}/ns/net");
            run(&format!("{inside} ip addr add 10.6.0.{host}/30 dev {link}"))?;
            run(&format!("{inside} ip link set {link} up"))?;
        }
        healthy(node)?;
        run(&format!("nsenter --net=/proc/{}/ns/net ip link set c2 down", pids[1]))?;
        let finding = cured(node, "down", "-/c2")?;
        ensure!(finding.what.starts_with("net:["), "{finding:?}");
        Ok(())
    });
}

/// An end in a VRF is the VRF's matter.
#[test]
fn an_end_in_a_vrf() {
    if !built_with("CONFIG_NET_VRF") {
        return skipped("CONFIG_NET_VRF");
    }
    on_node(|node| {
        node.netns("red")?;
        run("ip -n red link add vrf7 type vrf table 7")?;
        run("ip -n red link set vrf7 up")?;
        run("ip link add red0 type veth peer name red1 netns red")?;
        run("ip -n red link set red1 master vrf7")?;
        run("ip addr add 10.1.2.1/24 dev red0")?;
        run("ip -n red addr add 10.1.2.2/24 dev red1")?;
        run("ip link set red0 up")?;
        run("ip -n red link set red1 up")?;
        healthy(node)?;
        run("ip -n red link set red1 down")?;
        cured(node, "down", "red/red1")?;
        Ok(())
    });
}

/// Nothing but IPv6, on a bridge and routed.
#[test]
fn ipv6_alone() {
    on_node(|node| {
        run("ip link add br0 type bridge")?;
        run("ip addr add fd00::1/64 dev br0 nodad")?;
        run("ip link set br0 up")?;
        run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        for (name, net, master) in
            [("red", 0, " master br0"), ("blue", 0, " master br0"), ("far", 9, "")]
        {
            let host = name.len();
            node.netns(name)?;
            run(&format!("ip link add {name}0 type veth peer name {name}1 netns {name}"))?;
            run(&format!("ip link set {name}0{master} up"))?;
            run(&format!("ip -n {name} addr add fd0{net}::{host}/64 dev {name}1 nodad"))?;
            run(&format!("ip -n {name} link set {name}1 up"))?;
        }
        run("ip addr add fd09::1/64 dev far0 nodad")?;
        for (name, net) in [("red", 0), ("blue", 0), ("far", 9)] {
            run(&format!("ip -n {name} -6 route add default via fd0{net}::1"))?;
        }
        healthy(node)?;
        answers_soon(node, "red", "fd09::3", 56)?;
        healthy(node)?;
        run("ip -n far addr flush dev far1 scope global")?;
        cured(node, "no-address", "far/far1")?;
        run("ip -n blue link set blue1 mtu 1400")?;
        cured(node, "mtu", "blue/blue1")?;
        Ok(())
    });
}

#[test]
fn the_routed_topology() {
    on_node(|node| {
        routed(node)?;
        healthy(node)?;
        answers_soon(node, "red", "10.1.3.2", 56)?;
        healthy(node)
    });
}

/// Only what was asked for is told of.
#[test]
fn a_name_chooses_what_is_told() {
    on_node(|node| {
        direct(node)?;
        node.netns("third")?;
        run("ip link add t3 netns third type veth peer name o3 netns orange")?;
        // A cable is down at both of its ends.
        ensure!(doctor("")?.len() == 2 && doctor("third")?.len() == 2);
        ensure!(doctor("demo")?.is_empty() && doctor("green")?.is_empty());
        let text = agent("doctor third")?;
        let lines: Vec<_> = text.stdout.lines().collect();
        ensure!(text.code == 3 && lines.contains(&"error: third/t3 is down"), "{text:?}");
        ensure!(lines.contains(&"  mend: ip -n third link set dev t3 up"));
        Ok(())
    });
}

/// So long may it take on a full node.
const LIMIT: Duration = Duration::from_secs(2);

/// Quiet and quick on a full node: 1,000 pairs.
#[test]
fn a_thousand_healthy_pairs() {
    on_node(|node| {
        let mut batch = String::from(
            "link add br0 type bridge\nlink set br0 up\naddr add 10.0.0.1/16 dev br0\n",
        );
        let pairs = veth_tests::bearable(1000);
        for pod in 0..pairs {
            let (third, fourth) = (pod / 200 + 1, pod % 200 + 1);
            run(&format!("ip netns add p{pod}"))?;
            batch += &format!("link add h{pod} type veth peer name eth0 netns p{pod}\n");
            batch += &format!("link set h{pod} master br0 up\n");
            let inside = format!(
                "link set lo up\naddr add 10.0.{third}.{fourth}/16 dev eth0\nlink set eth0 up\nroute add default via 10.0.0.1\n"
            );
            node.file(&format!("p{pod}"), &inside)?;
        }
        let batch = node.file("batch", &batch)?;
        run(&format!("ip -batch {}", batch.display()))?;
        for pod in 0..pairs {
            let inside = node.scratch().join(format!("p{pod}"));
            run(&format!("ip -n p{pod} -batch {}", inside.display()))?;
        }
        healthy(node)?;
        let _alone = alone()?;
        let mut times = Vec::new();
        // Whatever else the machine is busy with takes its share: of many runs, the fastest counts.
        let in_time = node.eventually("2 s", Duration::from_secs(60), || {
            let started = Instant::now();
            ensure!(doctor("")?.is_empty());
            times.push(started.elapsed());
            let enough = times.len() >= 5 && times.iter().min() <= Some(&patient(LIMIT));
            Ok(enough.then_some(()))
        });
        times.sort();
        eprintln!("{pairs} pairs: {times:?}");
        in_time.with_context(|| format!("{times:?}"))
    });
}
