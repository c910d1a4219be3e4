//! Where nothing is lost, nothing is counted, although the kernel frees packets all the time.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use veth_tests::{
    Agent, Node, Qdisc, RawFrames, frame, mac, run, shell, tcp_bulk, try_run, udp_frame,
    undisturbed,
};

use super::{SOON, drops, with_reasons};

const PODS: [(&str, u8); 3] = [("red", 2), ("blue", 3), ("green", 4)];

/// Three pods with IPv4 and IPv6 on one bridge, from their first frame on.
fn bridged(node: &Node) -> Result<Agent> {
    run("ip link add br0 type bridge")?;
    run("ip link set br0 up")?;
    run("ip addr add 10.0.0.1/24 dev br0")?;
    let daemon = Agent::start(node, "")?;
    for (pod, last) in PODS {
        node.netns(pod)?;
        run(&format!("ip link add {pod}0 type veth peer name eth0 netns {pod}"))?;
        crate::counts::attached(node, (pod, "eth0"))?;
        run(&format!("ip -n {pod} addr add 10.0.0.{last}/24 dev eth0"))?;
        run(&format!("ip -n {pod} addr add fd00::{last}/64 dev eth0"))?;
        run(&format!("ip link set {pod}0 master br0 up"))?;
        run(&format!("ip -n {pod} link set eth0 up"))?;
        run(&format!("ip -n {pod} route add default via 10.0.0.1"))?;
    }
    Ok(daemon)
}

/// Waits until every address has been checked for duplicates, and the pods answer. Before, the kernel
/// sends from `::1`, and that is a drop indeed.
fn reachable(node: &Node) -> Result<()> {
    node.eventually("duplicate address detection has ended", SOON, || {
        let tentative = PODS.map(|(pod, _)| run(&format!("ip -n {pod} -6 addr show tentative")));
        let tentative = tentative.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(tentative.iter().all(|shown| shown.stdout.is_empty()).then_some(()))
    })?;
    for target in ["10.0.0.3", "fd00::3", "10.0.0.4", "fd00::4"] {
        node.eventually(target, SOON, || {
            let ping = format!("nsenter --net=/run/netns/red ping -q -c 1 -W 1 {target}");
            Ok((shell(&ping)?.code == 0).then_some(()))
        })?;
    }
    Ok(())
}

/// Fails if an end of any pair has lost anything. What a pod sends before its port forwards is lost
/// indeed: the bridge hears of the carrier by its own event.
fn lost(node: &Node, daemon: &Agent) -> Result<()> {
    let page = daemon.page()?;
    for (pod, _) in PODS {
        let host = format!("{pod}0");
        for end in [(pod, "eth0"), ("host", host.as_str())] {
            let mut drops = drops(&page, end);
            if end.0 == "host" {
                drops.remove("bridge_ingress_stp_state");
            }
            ensure!(drops.is_empty(), "{end:?}: {:?}", super::read(node, end));
        }
    }
    Ok(())
}

#[test]
fn starting_up_and_pings_lose_nothing() {
    with_reasons(|node| {
        let _room = undisturbed()?;
        let daemon = bridged(node)?;
        reachable(node)?;
        for target in ["10.0.0.3", "fd00::3", "10.0.0.1", "-b 10.0.0.255", "ff02::1%eth0"] {
            let ping = format!("nsenter --net=/run/netns/red ping -q -c 20 -i 0.01 -W 5 {target}");
            let pinged = try_run(&ping)?;
            // Nobody answers a broadcast.
            ensure!(pinged.code == 0 || target.starts_with("-b"), "{target}: {pinged:?}");
        }
        // Groups are joined, which is reported, and left again.
        node.within("blue", || {
            let (four, six) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?);
            four.join_multicast_v4(&"239.1.1.1".parse()?, &"10.0.0.3".parse()?)?;
            Ok(six.join_multicast_v6(&"ff05::77".parse()?, 2)?)
        })?;
        run("nsenter --net=/run/netns/red ping -q -c 1 -W 5 10.0.0.3")?;
        lost(node, &daemon)
    });
}

/// Hands a connection over and lets it end in one of the ways that connections end.
fn session(
    node: &Node,
    times: u32,
    end: impl Fn(TcpStream, TcpStream) -> Result<()> + Sync,
) -> Result<()> {
    let listener = node.within("blue", || Ok(TcpListener::bind("10.0.0.3:0")?))?;
    let target = listener.local_addr()?;
    node.within("red", || {
        for _ in 0..times {
            let mut client = TcpStream::connect(target)?;
            let (mut server, _) = listener.accept()?;
            client.write_all(b"hello")?;
            server.read_exact(&mut [0; 5])?;
            server.write_all(b"world")?;
            client.read_exact(&mut [0; 5])?;
            end(client, server)?;
        }
        Ok(())
    })
}

/// Three probes, which say again what has been said.
fn kept_alive(client: TcpStream, mut server: TcpStream) -> Result<()> {
    setsockopt(&client, sockopt::TcpKeepIdle, &1)?;
    setsockopt(&client, sockopt::TcpKeepInterval, &1)?;
    setsockopt(&client, sockopt::KeepAlive, &true)?;
    server.set_read_timeout(Some(Duration::from_millis(3500)))?;
    let nothing = server.read(&mut [0]);
    ensure!(nothing.is_err(), "{nothing:?}");
    Ok(())
}

#[test]
fn connections_lose_nothing_however_they_end() {
    with_reasons(|node| {
        let _room = undisturbed()?;
        let daemon = bridged(node)?;
        reachable(node)?;
        session(node, 10, |client, mut server| {
            drop(client);
            ensure!(server.read(&mut [0])? == 0);
            Ok(())
        })?;
        session(node, 10, |mut client, server| {
            drop(server);
            ensure!(client.read(&mut [0])? == 0);
            Ok(())
        })?;
        // Unread data: the other side is reset.
        session(node, 10, |mut client, server| {
            client.write_all(b"more")?;
            server.peek(&mut [0])?;
            drop(server);
            let _ = client.read(&mut [0]);
            Ok(())
        })?;
        session(node, 1, kept_alive)?;
        tcp_bulk(node, ("red", "10.0.0.2"), ("blue", "10.0.0.3"), 8 << 20)?;
        tcp_bulk(node, ("blue", "10.0.0.3"), ("green", "10.0.0.4"), 8 << 20)?;
        lost(node, &daemon)
    });
}

#[test]
fn datagrams_that_are_read_or_for_nobody_lose_nothing() {
    with_reasons(|node| {
        let _room = undisturbed()?;
        let daemon = bridged(node)?;
        reachable(node)?;
        let sockets = node.within("blue", || {
            Ok([UdpSocket::bind("10.0.0.3:7777")?, UdpSocket::bind("[fd00::3]:7777")?])
        })?;
        node.within("red", || {
            let (four, six) = (UdpSocket::bind("0.0.0.0:68")?, UdpSocket::bind("[::]:0")?);
            four.set_broadcast(true)?;
            let mdns = SocketAddrV6::new("ff02::fb".parse::<Ipv6Addr>()?, 5353, 0, 2);
            for _ in 0..20 {
                four.send_to(&[1; 100], "10.0.0.3:7777")?;
                six.send_to(&[1; 100], "[fd00::3]:7777")?;
                // DHCP without a server; mDNS without a listener.
                four.send_to(&[0; 300], "255.255.255.255:67")?;
                four.send_to(&[0; 300], "10.0.0.255:67")?;
                four.send_to(&[0; 30], "224.0.0.251:5353")?;
                six.send_to(&[0; 30], mdns)?;
            }
            Ok(())
        })?;
        for socket in &sockets {
            socket.set_read_timeout(Some(veth_tests::patient(SOON)))?;
            // Half of them stay unread when it is closed.
            (0..10).try_for_each(|_| socket.recv(&mut [0; 200]).map(drop))?;
        }
        drop(sockets);
        lost(node, &daemon)
    });
}

/// A bridge sends to all ports what it does not know, and hosts look away.
#[test]
fn frames_for_others_are_no_drops() {
    with_reasons(|node| {
        let _room = undisturbed()?;
        let daemon = bridged(node)?;
        reachable(node)?;
        let frames = node.within("red", || RawFrames::on("eth0", Qdisc::Pass))?;
        let (nobody, red) = ([2, 0, 0, 0, 0, 0x77], mac("red", "eth0")?);
        let six = [[0x60, 0, 0, 0, 0, 8, 17, 64].as_slice(), &[0xfd; 32], &[0; 8]].concat();
        let six = [nobody.as_slice(), &red, &[0x86, 0xdd], &six].concat();
        let for_another = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9];
        let for_another = [for_another.as_slice(), &[0, 0, 0, 0, 0, 0, 10, 0, 0, 77]].concat();
        for _ in 0..20 {
            frames.send(&udp_frame(nobody, red, [10, 0, 0, 2], [10, 0, 0, 99]))?;
            frames.send(&six)?;
            frames.send(&frame(0x0806, &for_another, 64))?;
        }
        // What comes behind them has been seen.
        run("nsenter --net=/run/netns/red ping -q -c 1 -W 5 10.0.0.3")?;
        run("nsenter --net=/run/netns/red ping -q -c 1 -W 5 10.0.0.4")?;
        let flooded = daemon.page()?.count("veth_agent_packets_total", "green", "eth0", "rx")?;
        ensure!(flooded >= 60, "{flooded}");
        lost(node, &daemon).context("flooded")
    });
}

/// A page without drops has no series of them, and none of a loss.
#[test]
fn there_are_no_series_where_nothing_was_lost() {
    with_reasons(|node| {
        let daemon = super::pair(node)?;
        run("nsenter --net=/run/netns/red ping -q -c 20 -i 0.01 10.0.0.2")?;
        let page = daemon.page()?;
        ensure!(page.all("veth_agent_drops_total", &[]).next().is_none());
        let lost = page.value("veth_agent_events_lost_total", &[("source", "drops")])?;
        ensure!(lost.abs() < 0.5, "{lost}");
        Ok(())
    });
}
