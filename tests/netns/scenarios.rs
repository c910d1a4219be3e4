//! The walk-throughs that people do by hand with `ip` and `ping`, end to end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use veth_tests::{
    Agent, LinkStats, Node, PINS, Page, agent, link_stats, on_node, run, shell, try_run,
};

const SOON: Duration = Duration::from_secs(20);
/// Ethernet header, IP header, ICMP header and ping's default payload.
const PING_FRAME: u64 = 14 + 20 + 8 + 56;
const ARP_FRAME: u64 = 14 + 28;

fn apply(node: &Node, topology: &str) -> Result<()> {
    let file = node.file("topology.yaml", topology)?;
    let output = agent(&format!("apply -f {}", file.display()))?;
    ensure!(output.code == 0, "{output:?}");
    Ok(())
}

fn prefix(netns: &str) -> String {
    if netns == "host" { String::new() } else { format!("nsenter --net=/run/netns/{netns} ") }
}

/// Whether one ping is answered; `ip` errors such as "unreachable" are a no.
fn answers(netns: &str, address: &str) -> Result<bool> {
    Ok(try_run(&format!("{}ping -q -c 1 -W 1 {address}", prefix(netns)))?.code == 0)
}

/// Five pings, five answers.
fn five_of_five(netns: &str, address: &str) -> Result<()> {
    let line = format!("{}ping -c 5 -i 0.02 -W 5 {address}", prefix(netns));
    let said = run(&line)?.stdout;
    ensure!(said.contains("5 packets transmitted, 5 received, 0% packet loss"), "{line}: {said}");
    Ok(())
}

/// As [`five_of_five`], once a new IPv6 address has been checked for duplicates.
fn five_of_five_soon(node: &Node, netns: &str, address: &str) -> Result<()> {
    node.eventually(&format!("{netns} reaches {address}"), SOON, || {
        Ok(answers(netns, address)?.then_some(()))
    })?;
    five_of_five(netns, address)
}

fn listed() -> Result<Vec<Value>> {
    let output = agent("list -o json")?;
    ensure!(output.code == 0 && output.stderr.is_empty(), "{output:?}");
    let document: Value = serde_json::from_str(&output.stdout)?;
    Ok(document["pairs"].as_array().context("no pairs")?.clone())
}

/// Fields of both ends of the only pair, the end called `tap1` first.
fn ends(field: &str) -> Result<[Value; 2]> {
    let pairs = listed()?;
    let [pair] = pairs.as_slice() else { anyhow::bail!("not one pair: {pairs:?}") };
    let mut ends = pair["ends"].as_array().context("no ends")?.clone();
    ends.sort_by_key(|end| end["interface"].to_string());
    let fields: Vec<_> = ends.iter().map(|end| end[field].clone()).collect();
    <[Value; 2]>::try_from(fields).map_err(|ends| anyhow::anyhow!("{ends:?}"))
}

fn states_become(node: &Node, wanted: [&[&str]; 2]) -> Result<()> {
    node.eventually(&format!("states {wanted:?}"), SOON, || {
        let states = ends("state")?;
        let is = |nth: usize| wanted[nth].iter().any(|state| states[nth] == *state);
        Ok((is(0) && is(1)).then_some(()))
    })
}

#[test]
fn one_two_namespaces_one_cable_by_hand() {
    on_node(|node| {
        node.quiet_netns("orange")?;
        node.quiet_netns("green")?;
        run("ip link add tap1 type veth peer name tap2")?;
        states_become(node, [&["down"], &["down"]])?;
        assert_eq!(ends("netns")?.map(|netns| netns["name"].clone()), ["host", "host"]);

        run("ip link set tap1 netns orange")?;
        run("ip link set tap2 netns green")?;
        let host = run("ip -o link")?.stdout;
        ensure!(!host.contains("tap"), "{host}");
        assert_eq!(ends("netns")?.map(|netns| netns["name"].clone()), ["orange", "green"]);

        let daemon = Agent::start(node, "")?;
        run("ip -n orange addr add 192.168.1.2/24 dev tap1")?;
        run("ip -n orange link set tap1 up")?;
        states_become(node, [&["lowerlayerdown", "down"], &["down"]])?;
        assert_eq!(ends("carrier")?, [false, false]);
        assert_eq!(ends("admin_up")?, [true, false]);

        run("ip -n green addr add 192.168.1.3/24 dev tap2")?;
        run("ip -n green link set tap2 up")?;
        states_become(node, [&["up"], &["up"]])?;
        assert_eq!(ends("carrier")?, [true, true]);
        five_of_five("orange", "192.168.1.3")?;
        five_of_five("green", "192.168.1.2")?;
        counted_in_full(node, &daemon)
    });
}

#[test]
fn one_two_namespaces_one_cable_by_apply() {
    on_node(|node| {
        node.quiet_netns("orange")?;
        node.quiet_netns("green")?;
        apply(
            node,
            "pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
",
        )?;
        let daemon = Agent::start(node, "")?;
        states_become(node, [&["up"], &["up"]])?;
        assert_eq!(listed()?[0]["name"], "demo");
        five_of_five("orange", "192.168.1.3")?;
        five_of_five("green", "192.168.1.2")?;
        counted_in_full(node, &daemon)
    });
}

/// Ten requests and ten answers, ARP beside, and both ends say what the kernel says.
fn counted_in_full(node: &Node, daemon: &Agent) -> Result<()> {
    for (netns, interface) in [("orange", "tap1"), ("green", "tap2")] {
        let (kernel, counted) = node.eventually("all is counted", SOON, || {
            let before = link_stats(netns, interface)?;
            let counted = counted(&daemon.page()?, netns, interface)?;
            Ok((before == link_stats(netns, interface)?).then_some((before, counted)))
        })?;
        assert_eq!(kernel, counted, "{netns}/{interface}");
        for (packets, bytes) in
            [(counted.rx_packets, counted.rx_bytes), (counted.tx_packets, counted.tx_bytes)]
        {
            let arp = packets.checked_sub(10).context("fewer than ten packets")?;
            assert_eq!(bytes, 10 * PING_FRAME + arp * ARP_FRAME, "{netns}/{interface}: {arp} ARP");
        }
    }
    Ok(())
}

fn counted(page: &Page, netns: &str, interface: &str) -> Result<LinkStats> {
    let count = |name, way| page.count(name, netns, interface, way);
    Ok(LinkStats {
        rx_packets: count("veth_agent_packets_total", "rx")?,
        rx_bytes: count("veth_agent_bytes_total", "rx")?,
        tx_packets: count("veth_agent_packets_total", "tx")?,
        tx_bytes: count("veth_agent_bytes_total", "tx")?,
        tx_dropped: 0,
    })
}

#[test]
fn one_in_ipv6() {
    on_node(|node| {
        apply(
            node,
            "namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: demo
    ends:
      - { namespace: orange, interface: tap1, addresses: ['fd00:1::2/64'] }
      - { namespace: green, interface: tap2, addresses: ['fd00:1::3/64'] }
",
        )?;
        states_become(node, [&["up"], &["up"]])?;
        five_of_five_soon(node, "orange", "fd00:1::3")?;
        five_of_five_soon(node, "green", "fd00:1::2")
    });
}

#[test]
fn two_two_pods() {
    on_node(|node| {
        apply(
            node,
            "namespaces: [{ name: pod-red }, { name: pod-blue }]
pairs:
  - name: pods
    ends:
      - { namespace: pod-red, interface: veth-red, addresses: [10.0.1.1/24] }
      - { namespace: pod-blue, interface: veth-blue, addresses: [10.0.1.2/24] }
",
        )?;
        for (pod, own, other) in
            [("pod-red", "10.0.1.1", "10.0.1.2"), ("pod-blue", "10.0.1.2", "10.0.1.1")]
        {
            let loopback = run(&format!("ip -n {pod} link show dev lo"))?.stdout;
            ensure!(loopback.contains("LOOPBACK,UP"), "{loopback}");
            let routes = run(&format!("ip -n {pod} route"))?.stdout;
            ensure!(routes.contains("10.0.1.0/24 dev veth-"), "{routes}");
            five_of_five(pod, "127.0.0.1")?;
            five_of_five(pod, own)?;
            five_of_five(pod, other)?;
        }
        Ok(())
    });
}

#[test]
fn three_a_host_route_each_way() {
    on_node(|node| {
        let topology = |host: &str, blue: &str| {
            format!(
                "namespaces: [{{ name: blue }}]\npairs:\n  - name: blue\n    ends:\n      - {{ \
                 interface: veth0, addresses: [10.0.0.10/24]{host} }}\n      - {{ namespace: blue, \
                 interface: veth1, addresses: [10.0.0.1/24]{blue} }}\n"
            )
        };
        // The subnet is elsewhere already, on either side.
        shell(
            "ip link add elsewhere type bridge
             ip addr add 10.0.0.77/24 dev elsewhere
             ip link set elsewhere up",
        )?;
        node.netns("blue")?;
        shell(
            "ip -n blue link add elsewhere type bridge
             ip -n blue addr add 10.0.0.78/24 dev elsewhere
             ip -n blue link set elsewhere up",
        )?;
        apply(node, &topology("", ""))?;
        ensure!(!answers("host", "10.0.0.1")?);
        ensure!(!answers("blue", "10.0.0.10")?);
        let to_blue = ", routes: [{ to: 10.0.0.1/32 }]";
        apply(node, &topology(to_blue, ""))?;
        ensure!(!answers("host", "10.0.0.1")?);
        apply(node, &topology(to_blue, ", routes: [{ to: 10.0.0.10/32 }]"))?;
        five_of_five("host", "10.0.0.1")?;
        five_of_five("blue", "10.0.0.10")
    });
}

#[test]
fn three_in_ipv6_through_the_host() {
    on_node(|node| {
        apply(
            node,
            "namespaces: [{ name: blue }, { name: red }]
pairs:
  - name: blue
    ends:
      - { interface: veth0, addresses: ['fd00::10/128'], routes: [{ to: 'fd00::1/128' }] }
      - namespace: blue
        interface: veth1
        addresses: ['fd00::1/128']
        routes: [{ to: 'fd00::10/128' }, { to: default, via: 'fd00::10' }]
  - name: red
    ends:
      - { interface: veth2, addresses: ['fd00::20/128'], routes: [{ to: 'fd00::2/128' }] }
      - namespace: red
        interface: veth3
        addresses: ['fd00::2/128']
        routes: [{ to: 'fd00::20/128' }, { to: default, via: 'fd00::20' }]
",
        )?;
        five_of_five_soon(node, "host", "fd00::1")?;
        five_of_five_soon(node, "blue", "fd00::10")?;
        ensure!(!answers("blue", "fd00::2")?, "the host forwards before it is told to");
        run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        five_of_five_soon(node, "blue", "fd00::2")?;
        five_of_five_soon(node, "red", "fd00::1")
    });
}

#[test]
fn four_a_bridge_joins_all() {
    on_node(|node| {
        let mut topology =
            "bridges:\n  - { name: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] }\n".to_owned();
        topology += "namespaces: [{ name: n2 }, { name: n3 }, { name: n4 }]\npairs:\n";
        for nth in 2..5 {
            topology += &format!(
                "  - name: p{nth}\n    ends:\n      - {{ interface: veth{nth}, bridge: br0 }}\n      \
                 - {{ namespace: n{nth}, interface: c0, addresses: [10.0.0.{nth}/24, \
                 'fd00::{nth}/64'] }}\n"
            );
        }
        apply(node, &topology)?;
        for pair in listed()? {
            assert_eq!(pair["ends"][0]["bridge"], "br0", "{pair}");
            assert_eq!(pair["ends"][1]["bridge"], Value::Null, "{pair}");
        }
        for from in 2..5 {
            for to in 1..5 {
                five_of_five_soon(node, &format!("n{from}"), &format!("10.0.0.{to}"))?;
                five_of_five_soon(node, &format!("n{from}"), &format!("fd00::{to}"))?;
            }
            five_of_five("host", &format!("10.0.0.{from}"))?;
        }
        Ok(())
    });
}

#[test]
fn six_several_ends_in_one_namespace_are_kept_apart() {
    on_node(|node| {
        for netns in ["hub", "one", "two"] {
            node.quiet_netns(netns)?;
        }
        apply(
            node,
            "pairs:
  - name: first
    ends:
      - { namespace: hub, interface: h1, addresses: [10.1.0.1/24] }
      - { namespace: one, interface: c0, addresses: [10.1.0.2/24] }
  - name: second
    ends:
      - { namespace: hub, interface: h2, addresses: [10.2.0.1/24] }
      - { namespace: two, interface: c0, addresses: [10.2.0.2/24] }
  - name: within
    ends:
      - { namespace: hub, interface: w1 }
      - { namespace: hub, interface: w2 }
",
        )?;
        let daemon = Agent::start(node, "")?;
        five_of_five("one", "10.1.0.1")?;
        for _ in 0..2 {
            five_of_five("two", "10.2.0.1")?;
        }
        let page = node.eventually("nothing moves", SOON, || {
            let hub = || -> Result<_> { Ok([link_stats("hub", "h1")?, link_stats("hub", "h2")?]) };
            let before = hub()?;
            let page = daemon.page()?;
            Ok((before == hub()?).then_some(page))
        })?;
        for interface in ["h1", "h2", "w1", "w2"] {
            assert_eq!(
                counted(&page, "hub", interface)?,
                LinkStats { tx_dropped: 0, ..link_stats("hub", interface)? },
                "{interface}"
            );
        }
        let sent = |interface| page.count("veth_agent_packets_total", "hub", interface, "tx");
        ensure!(sent("h1")? >= 5 && sent("h1")? < 10, "{}", sent("h1")?);
        ensure!(sent("h2")? >= 10, "{}", sent("h2")?);
        assert_eq!(sent("w1")?, 0);
        let names: Vec<_> = listed()?.iter().map(|pair| pair["name"].clone()).collect();
        assert_eq!(names, ["first", "second", "within"]);
        Ok(())
    });
}

#[test]
fn seven_namespaces_go_and_so_do_their_ends() {
    on_node(|node| {
        apply(
            node,
            "namespaces: [{ name: orange }, { name: green }]
pairs:
  - name: direct
    ends:
      - { namespace: orange, interface: tap1, addresses: [192.168.1.2/24] }
      - { namespace: green, interface: tap2, addresses: [192.168.1.3/24] }
  - name: hosts
    ends:
      - { interface: veth0 }
      - { namespace: green, interface: veth1 }
",
        )?;
        let daemon = Agent::start(node, "--linger 0s")?;
        assert_eq!(daemon.page()?.value("veth_agent_pairs", &[("state", "up")])?, 2.0);
        run("ip netns del orange")?;
        run("ip netns del green")?;
        node.eventually("the ends are gone", SOON, || {
            Ok((try_run("ip link show dev veth0")?.code != 0).then_some(()))
        })?;
        node.eventually("the agent knows", SOON, || {
            let page = daemon.page()?;
            let pairs: f64 = page.all("veth_agent_pairs", &[]).map(|sample| sample.value).sum();
            let series = page.all("veth_agent_packets_total", &[]).count();
            Ok((pairs == 0.0 && series == 0 && listed()?.is_empty()).then_some(()))
        })?;
        node.eventually("no program is left", SOON, || {
            // What hears of drops is the node's, and no end's.
            let pins = format!("find {PINS}/links {PINS}/programs -type f -not -name drops-*");
            Ok(run(&pins)?.stdout.is_empty().then_some(()))
        })?;
        assert_eq!(daemon.get("/healthz")?.0, 200);
        Ok(())
    });
}
