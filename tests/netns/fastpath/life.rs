//! Agents die, pods come and go: no packet is lost for it, and none reaches the wrong pod.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_tests::{Agent, Node, Streamed, agent, link_stats, on_node, patient, run, tcp_until};

use super::{SOON, Shape, fast, in_red, pods, redirected};

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

/// Runs `work` while a TCP connection between the pods is busy.
fn under_load(node: &Node, work: impl FnOnce() -> Result<()>) -> Result<Streamed> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stream =
            scope.spawn(|| tcp_until(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), &stop));
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        let streamed = stream.join().map_err(|_| anyhow::anyhow!("the stream panicked"))?;
        worked.and(streamed)
    })
}

/// `kill -9`, the end of the lease, and a new agent, all under one connection.
fn a_stream_survives_the_agent(node: &Node, shape: Shape) -> Result<()> {
    let daemon = pods(node, shape)?;
    fast(node, &daemon)?;
    daemon.stop(node, Signal::SIGTERM)?;
    let daemon = Agent::start(node, "--lease 2s")?;
    fast(node, &daemon)?;
    let streamed = under_load(node, || {
        daemon.kill()?;
        let host = || Ok::<_, anyhow::Error>(link_stats("host", "b0")?.tx_packets);
        node.eventually("packets take the stack", SOON, || {
            let before = host()?;
            thread::sleep(Duration::from_millis(50));
            Ok((host()? > before + 10).then_some(()))
        })?;
        let daemon = Agent::start(node, "")?;
        let page = daemon.page()?;
        node.eventually("and the fast path again", SOON, || {
            Ok((redirected(&daemon.page()?, "r0")? > redirected(&page, "r0")? + 100).then_some(()))
        })?;
        Ok(())
    })?;
    ensure!(streamed.bytes > 0 && streamed.longest_pause < patient(SECOND), "{streamed:?}");
    Ok(())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_stream_over_a_bridge_survives_the_agent() {
    on_node(|node| a_stream_survives_the_agent(node, Shape::Bridged));
}

#[test]
fn a_stream_over_routes_survives_the_agent() {
    on_node(|node| a_stream_survives_the_agent(node, Shape::Routed));
}

/// The connection goes on over a link that comes and goes, by whichever path.
#[test]
fn a_flapping_link_does_not_end_a_stream() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        let flaps = veth_tests::bearable(1000);
        under_load(node, || {
            for _ in 0..flaps {
                run("ip link set b0 down")?;
                run("ip link set b0 up")?;
            }
            Ok(())
        })?;
        fast(node, &daemon)
    });
}

/// A pod of another name takes the address of one that goes. What is sent to the address reaches
/// the one or the other, and traffic is back within a second.
#[test]
fn an_address_that_moves_takes_its_packets_along() {
    on_node(|node| {
        let daemon = pods(node, Shape::Bridged)?;
        fast(node, &daemon)?;
        let target: SocketAddr = "10.0.0.3:7".parse()?;
        let sender = node.within("red", || {
            let socket = UdpSocket::bind("10.0.0.2:0")?;
            socket.connect(target)?;
            Ok(socket)
        })?;
        let old = node.within("blue", || Ok(UdpSocket::bind(target)?))?;
        old.set_read_timeout(Some(patient(SECOND)))?;
        sender.send(b"old")?;
        let mut buffer = [0; 16];
        ensure!(old.recv(&mut buffer)? == 3);
        // It stays alive, and listens, with its address on a cable that leads nowhere.
        run("ip -n blue address del 10.0.0.3/24 dev b1")?;
        run("ip -n blue address add 10.0.0.3/24 dev lo")?;
        let file = node.file(
            "green.yaml",
            "namespaces: [{ name: green }]
pairs:
  - name: green
    datapath: tc
    ends:
      - { interface: g0, bridge: br0 }
      - { namespace: green, interface: g1, addresses: [10.0.0.3/24] }
bridges: [{ name: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] }]
",
        )?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        let new = node.within("green", || Ok(UdpSocket::bind(target)?))?;
        new.set_read_timeout(Some(Duration::from_millis(20)))?;
        // The sender's kernel has to learn the new MAC, as it would without us.
        run("ip -n red neighbour flush dev r1")?;
        let moved = Instant::now();
        node.eventually("packets reach the new owner", SOON, || {
            // Refused by a host that has not got the address yet.
            let _ = sender.send(b"new");
            Ok(new.recv(&mut buffer).is_ok().then_some(()))
        })?;
        let took = moved.elapsed();
        ensure!(took < patient(SECOND), "{took:?}");
        let before = redirected(&daemon.page()?, "r0")?;
        for _ in 0..100 {
            sender.send(b"new")?;
        }
        node.eventually("they take the fast path", SOON, || {
            sender.send(b"new")?;
            Ok((redirected(&daemon.page()?, "r0")? >= before + 50).then_some(()))
        })?;
        old.set_nonblocking(true)?;
        let wrong = old.recv(&mut buffer);
        ensure!(wrong.is_err(), "the old owner got {wrong:?}");
        Ok(())
    });
}

/// The far end's namespace goes under load: the agent follows, and the address is nobody's.
#[test]
fn a_pod_that_goes_leaves_no_entry_behind() {
    on_node(|node| {
        let daemon = pods(node, Shape::Routed)?;
        fast(node, &daemon)?;
        let entries = || -> Result<f64> {
            daemon.page()?.value("veth_agent_map_entries", &[("map", "va_endpoints")])
        };
        ensure!((entries()? - 4.0).abs() < 0.5, "{}", entries()?);
        run("ip netns delete blue")?;
        node.eventually("its entries are gone", SOON, || Ok((entries()? < 2.5).then_some(())))?;
        let document = veth_tests::status_document("")?;
        let pairs = document["fast_path"]["pairs"].as_array().context("no verdicts")?;
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        in_red("ping -q -c 1 -W 2 169.254.1.1")
    });
}
