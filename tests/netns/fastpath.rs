//! The fast path by TC: packets go from one pair straight into the far end of another.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{Agent, Node, Page, agent, link_stats, on_node, run, shell, try_run};

/// Two pods on a bridge.
const BRIDGED: &str = "
namespaces: [{ name: red }, { name: blue }]
bridges: [{ name: br0, addresses: [10.0.0.1/24, fd00::1/64] }]
pairs:
  - name: red
    datapath: tc
    ends:
      - { interface: r0, bridge: br0 }
      - { namespace: red, interface: r1, addresses: [10.0.0.2/24, fd00::2/64] }
  - name: blue
    datapath: tc
    ends:
      - { interface: b0, bridge: br0 }
      - { namespace: blue, interface: b1, addresses: [10.0.0.3/24, fd00::3/64] }
";

/// Two pods that the host routes between.
const ROUTED: &str = "
namespaces: [{ name: red }, { name: blue }]
pairs:
  - name: red
    datapath: tc
    ends:
      - { interface: r0, addresses: [169.254.1.1/32, fd01::1/128], routes: [{ to: 10.0.0.2/32 }, { to: fd00::2/128 }] }
      - namespace: red
        interface: r1
        addresses: [10.0.0.2/32, fd00::2/128]
        routes: [{ to: 169.254.1.1/32 }, { to: default, via: 169.254.1.1 }, { to: fd01::1/128 }, { to: '::/0', via: fd01::1 }]
  - name: blue
    datapath: tc
    ends:
      - { interface: b0, addresses: [169.254.1.1/32, fd01::1/128], routes: [{ to: 10.0.0.3/32 }, { to: fd00::3/128 }] }
      - namespace: blue
        interface: b1
        addresses: [10.0.0.3/32, fd00::3/128]
        routes: [{ to: 169.254.1.1/32 }, { to: default, via: 169.254.1.1 }, { to: fd01::1/128 }, { to: '::/0', via: fd01::1 }]
";

const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bridged,
    Routed,
}

/// Makes the pods, and starts the agent that speeds them up.
fn pods(node: &Node, shape: Shape) -> Result<Agent> {
    let topology = match shape {
        Shape::Bridged => BRIDGED,
        Shape::Routed => {
            run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
            ROUTED
        }
    };
    let file = node.file("pods.yaml", topology)?;
    let applied = agent(&format!("apply -f {}", file.display()))?;
    ensure!(applied.code == 0, "{}", applied.stderr);
    // Until then the kernel sends from, and answers for, other addresses.
    node.eventually("duplicate address detection has ended", SOON, || {
        let tentative = |netns: &str| -> Result<bool> {
            Ok(!run(&format!("ip -n {netns} -6 addr show tentative"))?.stdout.is_empty())
        };
        Ok((!tentative("red")? && !tentative("blue")?).then_some(()))
    })?;
    Agent::start(node, "")
}

fn in_red(line: &str) -> Result<()> {
    run(&format!("nsenter --net=/run/netns/red {line}"))?;
    Ok(())
}

fn redirected(page: &Page, near: &str) -> Result<u64> {
    let labels = [("netns", "host"), ("interface", near), ("method", "tc")];
    Ok(page.value("veth_agent_redirects_total", &labels)? as u64)
}

fn fallbacks(page: &Page, near: &str, reason: &str) -> Result<u64> {
    let labels = [("netns", "host"), ("interface", near), ("reason", reason)];
    Ok(page.value("veth_agent_redirect_fallbacks_total", &labels)? as u64)
}

/// Waits until pings take the fast path both ways.
fn fast(node: &Node, daemon: &Agent) -> Result<()> {
    node.eventually("the fast path is taken", SOON, || {
        let before = daemon.page()?;
        in_red("ping -q -c 2 -i 0.01 -W 2 10.0.0.3")?;
        let after = daemon.page()?;
        let new = |near| -> Result<u64> {
            Ok(redirected(&after, near)?.saturating_sub(redirected(&before, near).unwrap_or(0)))
        };
        match (new("r0"), new("b0")) {
            (Ok(2), Ok(2)) => Ok(Some(())),
            _ => Ok(None),
        }
    })
}

fn takes_one_hop(node: &Node, shape: Shape) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    let (before, host) = (daemon.page()?, link_stats("host", "b0")?);
    let far = link_stats("blue", "b1")?;
    in_red("ping -q -f -c 500 10.0.0.3")?;
    in_red("ping -q -f -c 300 fd00::3")?;
    let (after, host_after) = (daemon.page()?, link_stats("host", "b0")?);
    for near in ["r0", "b0"] {
        let new = redirected(&after, near)? - redirected(&before, near)?;
        let of_near = [("interface", near)];
        let stack = after.all("veth_agent_redirect_fallbacks_total", &of_near);
        let stack: Vec<_> = stack.filter(|sample| sample.value > 0.0).collect();
        assert_eq!(new, 800, "{near}: {stack:?} {}", daemon.said());
    }
    // The way to the far end leads past the near end's transmit side.
    ensure!(host_after.since(host).tx_packets < 20, "{:?}", host_after.since(host));
    let arrived = link_stats("blue", "b1")?.since(far);
    ensure!(arrived.tx_packets >= 800, "{arrived:?}");
    let counted = |page: &Page, way| page.count("veth_agent_packets_total", "blue", "b1", way);
    ensure!(counted(&after, "rx")? - counted(&before, "rx")? >= 800);
    Ok(())
}

#[test]
fn pods_on_a_bridge_reach_each_other_in_one_hop() {
    on_node(|node| takes_one_hop(node, Shape::Bridged));
}

#[test]
fn pods_behind_routes_reach_each_other_in_one_hop() {
    on_node(|node| takes_one_hop(node, Shape::Routed));
}

/// What the stack does is done: the hop limit goes down where there is a router, and only there.
fn hop_limits(node: &Node, shape: Shape) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    let wanted = if shape == Shape::Routed { 63 } else { 64 };
    for address in ["10.0.0.3", "fd00::3"] {
        let answer = run(&format!("nsenter --net=/run/netns/red ping -c 1 {address}"))?.stdout;
        ensure!(answer.contains(&format!("ttl={wanted} ")), "{answer}");
    }
    let before = fallbacks(&daemon.page()?, "r0", "hop_limit")?;
    let last = try_run("nsenter --net=/run/netns/red ping -q -c 1 -W 1 -t 1 10.0.0.3")?;
    let told = fallbacks(&daemon.page()?, "r0", "hop_limit")? - before;
    match shape {
        Shape::Bridged => ensure!(last.code == 0 && told == 0, "{last:?}"),
        Shape::Routed => ensure!(last.code == 1 && told == 1, "{last:?}"),
    }
    Ok(())
}

#[test]
fn a_bridge_leaves_hop_limits_alone() {
    on_node(|node| hop_limits(node, Shape::Bridged));
}

#[test]
fn a_router_lowers_hop_limits() {
    on_node(|node| hop_limits(node, Shape::Routed));
}

/// A rule that would be skipped takes the pairs off the fast path, is named, and gives it back.
fn a_rule_is_obeyed(node: &Node, shape: Shape, family: &str) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    shell(&format!(
        "nft add table {family} t; nft add chain {family} t f '{{ type filter hook forward priority 0; }}'
         nft add rule {family} t f drop"
    ))
    .and_then(|made| {
        ensure!(made.code == 0, "{}", made.stderr);
        Ok(())
    })?;
    let silent = || try_run("nsenter --net=/run/netns/red ping -q -c 1 -W 1 10.0.0.3");
    node.eventually("the rule is obeyed", Duration::from_secs(5), || {
        Ok((silent()?.code == 1).then_some(()))
    })?;
    let named = format!("nft {family} t f: rule handle");
    node.eventually("it is named", SOON, || Ok(daemon.said().contains(&named).then_some(())))?;
    run(&format!("nft delete table {family} t"))?;
    fast(node, &daemon)
}

#[test]
fn a_rule_on_the_bridge_is_obeyed_within_seconds() {
    on_node(|node| a_rule_is_obeyed(node, Shape::Bridged, "bridge"));
}

#[test]
fn a_rule_on_the_route_is_obeyed_within_seconds() {
    on_node(|node| a_rule_is_obeyed(node, Shape::Routed, "ip"));
}

/// Without an agent the lease runs out, packets take the stack, and nothing is lost on the way.
#[test]
fn without_an_agent_packets_take_the_stack() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        daemon.stop(node, Signal::SIGTERM)?;
        let daemon = Agent::start(node, "--lease 3s")?;
        fast(node, &daemon)?;
        daemon.kill()?;
        let host = || Ok::<_, anyhow::Error>(link_stats("host", "b0")?.tx_packets);
        node.eventually("packets take the stack", SOON, || {
            let before = host()?;
            in_red("ping -q -c 5 -i 0.01 10.0.0.3")?;
            Ok((host()? - before >= 5).then_some(()))
        })?;
        fast(node, &Agent::start(node, "")?)
    });
}

#[test]
fn status_tells_each_pairs_verdict() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        let verdicts = || -> Result<Vec<(String, String)>> {
            let document = veth_tests::status_document("")?;
            let pairs = document["fast_path"]["pairs"].as_array().context("no verdicts")?.clone();
            let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            Ok(pairs.iter().map(|pair| (word(&pair["pair"]), word(&pair["state"]))).collect())
        };
        let all = |state: &str| ["blue", "red"].map(|pair| (pair.to_owned(), state.to_owned()));
        assert_eq!(verdicts()?, all("active"));
        run("tc qdisc add dev b0 root tbf rate 1gbit burst 32kbit latency 50ms")?;
        let [blue, red] = [verdicts()?[0].1.clone(), verdicts()?[1].1.clone()];
        assert_eq!((blue.as_str(), red.as_str()), ("refused", "active"));
        let table = agent("status")?.stdout;
        ensure!(table.contains("qdisc tbf on b0"), "{table}");
        run("tc qdisc del dev b0 root")?;
        daemon.kill()?;
        let document = veth_tests::status_document("")?;
        ensure!(document["fast_path"]["lease_seconds"].as_u64().is_some_and(|left| left <= 60));
        Ok(())
    });
}
