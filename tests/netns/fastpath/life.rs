//! Agents die, pods come and go: no packet is lost for it, and none reaches the wrong pod.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use veth_agent::collect::EndReading;
use veth_common::fastpath::Fallback;
use veth_tests::{
    Agent, Node, Streamed, agent, link_stats, mac_text, on_node, patient, run, tcp_until,
};

use super::{
    By, SOON, Shape, fast, fast_by, in_red, pods, pods_by, reading, redirected, redirected_by,
};

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

/// Round trips over one connection, until `stop` is set: how many, and the longest.
fn round_trips(node: &Node, stop: &AtomicBool) -> Result<(u64, Duration)> {
    let listener = node.within("blue", || Ok(TcpListener::bind("10.0.0.3:0")?))?;
    let target = listener.local_addr()?;
    thread::scope(|scope| {
        scope.spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let mut byte = [0];
            while stream.read(&mut byte)? == 1 {
                stream.write_all(&byte)?;
            }
            Ok(())
        });
        let mut stream = node.within("red", || Ok(TcpStream::connect(target)?))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patient(SECOND)))?;
        let (mut count, mut longest) = (0_u64, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let sent = [count as u8];
            let began = Instant::now();
            stream.write_all(&sent)?;
            let mut got = [0];
            stream.read_exact(&mut got).context("an answer")?;
            ensure!(got == sent, "{got:?} for {sent:?}");
            longest = longest.max(began.elapsed());
            count += 1;
        }
        Ok((count, longest))
    })
}

/// `kill -9`, the end of the lease, and a new agent, under round trips: none is lost.
fn round_trips_survive_the_agent(node: &Node, by: By) -> Result<()> {
    let daemon = pods_by(node, Shape::Bridged, by)?;
    fast_by(node, &daemon, by)?;
    daemon.stop(node, Signal::SIGTERM)?;
    let daemon = Agent::start(node, "--lease 2s")?;
    fast_by(node, &daemon, by)?;
    let stop = AtomicBool::new(false);
    let (count, longest) = thread::scope(|scope| {
        let trips = scope.spawn(|| round_trips(node, &stop));
        let worked = (|| {
            daemon.kill()?;
            let lease =
                || Ok(veth_tests::status_document("")?["fast_path"]["lease_seconds"].is_null());
            node.eventually("the lease has ended", SOON, || {
                lease().map(|over| over.then_some(()))
            })?;
            let daemon = Agent::start(node, "")?;
            let before = redirected_by(&daemon.page()?, "r0", by)?;
            node.eventually("round trips are fast again", SOON, || {
                let now = redirected_by(&daemon.page()?, "r0", by)?;
                Ok((now > before + 100).then_some(()))
            })
        })();
        stop.store(true, Ordering::Relaxed);
        let trips = trips.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
        worked.and(trips)
    })?;
    // What is lost comes again after 200 ms at the soonest.
    ensure!(count > 100 && longest < patient(Duration::from_millis(200)), "{count}, {longest:?}");
    Ok(())
}

#[test]
fn round_trips_by_tc_survive_the_agent() {
    on_node(|node| round_trips_survive_the_agent(node, By::Tc));
}

#[test]
fn round_trips_by_xdp_survive_the_agent() {
    on_node(|node| round_trips_survive_the_agent(node, By::Xdp));
}

/// Tables that nobody keeps up, an end that goes, and another that gets its index: what was for the
/// old one never reaches the new one.
fn a_reused_index_is_nobodys(node: &Node, by: By) -> Result<()> {
    let daemon = pods_by(node, Shape::Bridged, by)?;
    fast_by(node, &daemon, by)?;
    daemon.stop(node, Signal::SIGTERM)?;
    let daemon = Agent::start(node, "--lease 1h")?;
    fast_by(node, &daemon, by)?;
    let index = nix::net::if_::if_nametoindex("b0")?;
    let mac = mac_text("blue", "b1")?;
    daemon.kill()?;
    run("ip link del b0")?;
    node.netns("green")?;
    run(&format!("ip link add n0 index {index} type veth peer name n1 netns green"))?;
    run("ip link set n0 up")?;
    run("ip -n green link set n1 up")?;
    run(&format!("ip -n red neighbour replace 10.0.0.3 lladdr {mac} dev r1 nud permanent"))?;
    let before = link_stats("green", "n1")?;
    let gone = |reading: EndReading| {
        reading.fallbacks.map_or(0, |fallbacks| fallbacks.by_reason[Fallback::Gone as usize])
    };
    let earlier = gone(reading("r0")?);
    node.within("red", || {
        let socket = UdpSocket::bind("10.0.0.2:0")?;
        socket.connect("10.0.0.3:7")?;
        for _ in 0..100 {
            socket.send(&[0x5a; 1000])?;
        }
        Ok(())
    })?;
    ensure!(gone(reading("r0")?) - earlier == 100, "{:?}", reading("r0")?);
    let arrived = link_stats("green", "n1")?.since(before);
    ensure!(arrived.rx_bytes < 1000, "{arrived:?}");
    Ok(())
}

#[test]
fn an_index_that_is_given_again_gets_nothing_of_its_old_owner_by_tc() {
    on_node(|node| a_reused_index_is_nobodys(node, By::Tc));
}

#[test]
fn an_index_that_is_given_again_gets_nothing_of_its_old_owner_by_xdp() {
    on_node(|node| a_reused_index_is_nobodys(node, By::Xdp));
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
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // Until the address is nobody's, and a little longer.
            let sender = scope.spawn(|| {
                node.within("red", || {
                    let socket = UdpSocket::bind("10.0.0.2:0")?;
                    socket.connect("10.0.0.3:7")?;
                    while !stop.load(Ordering::Relaxed) {
                        // Refused, once there is no route.
                        let _ = socket.send(&[0x5a; 100]);
                        // Not so many that other tests lose theirs.
                        thread::sleep(Duration::from_micros(100));
                    }
                    Ok(())
                })
            });
            let gone = run("ip netns delete blue").and_then(|_| {
                node.eventually("its entries are gone", SOON, || {
                    Ok((entries()? < 2.5).then_some(()))
                })
            });
            stop.store(true, Ordering::Relaxed);
            sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
            gone
        })?;
        let document = veth_tests::status_document("")?;
        let pairs = document["fast_path"]["pairs"].as_array().context("no verdicts")?;
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        in_red("ping -q -c 1 -W 2 169.254.1.1")
    });
}
