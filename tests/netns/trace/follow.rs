//! Packets from hook to hook.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use veth_agent::preflight::Feature;
use veth_tests::{Node, Tracer, lacks, on_node, run, undisturbed};

use super::{cable, places, send, soon_full};
use crate::fastpath::{By, Shape, audited, fast_by, in_red, make_pods, pods_by};

/// The ways of all packets: of each hop the place, and the verdict there.
fn ways(lines: &[Value]) -> Result<Vec<Vec<String>>> {
    let mut ways: Vec<(u64, Vec<String>)> = Vec::new();
    for (line, place) in lines.iter().zip(places(lines)) {
        let id = line["packet_id"].as_u64().with_context(|| line.to_string())?;
        let hop = format!("{place} {}", line["verdict"].as_str().unwrap_or("-"));
        let timed = line["since_previous_ns"].is_u64();
        match ways.last_mut().filter(|(last, _)| *last == id) {
            Some((_, way)) => {
                ensure!(timed, "{line}");
                way.push(hop);
            }
            None => {
                ensure!(!timed && ways.iter().all(|(known, _)| *known != id), "{line}");
                ways.push((id, vec![hop]));
            }
        }
    }
    Ok(ways.into_iter().map(|(_, way)| way).collect())
}

fn count(ways: &[Vec<String>], wanted: &[&str]) -> usize {
    ways.iter().filter(|way| *way == wanted).count()
}

#[test]
fn a_dropped_packet_has_its_way_up_to_there() {
    if lacks(Feature::DropReasons) {
        return;
    }
    on_node(|node| {
        cable(node)?;
        let nft = "nsenter --net=/run/netns/blue nft";
        run(&format!("{nft} add table ip t"))?;
        run(&format!("{nft} add chain ip t c {{ type filter hook input priority 0 ; }}"))?;
        run(&format!("{nft} add rule ip t c udp dport 5001 drop"))?;
        run("ip -n red link set r1 mtu 3000")?;
        let full = soon_full(node, 5004)?;
        let _room = undisturbed()?;
        let tracer = Tracer::start(node, "--follow -o json udp")?;
        send(node, 5001, 3, 100)?;
        send(node, 5003, 4, 100)?;
        send(node, 5004, 40, 1000)?;
        send(node, 5005, 2, 2500)?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        drop(full);
        let ways = ways(&traced.json()?)?;
        let reached = |end: &str| {
            [
                "red/r1 out pass".to_owned(),
                "blue/b1 in pass".to_owned(),
                format!("blue/b1 {end} drop"),
            ]
        };
        let reached = |end: &str| count(&ways, &reached(end).each_ref().map(String::as_str));
        ensure!(reached("netfilter_drop") == 3, "{ways:?}");
        ensure!(reached("no_socket") == 4, "{ways:?}");
        let full = reached("socket_rcvbuff");
        ensure!((30..40).contains(&full), "{full} of 40: {ways:?}");
        let oversize = ["red/r1 out pass", "red/r1 veth_oversize drop"];
        ensure!(count(&ways, &oversize) == 2, "{ways:?}");
        ensure!(ways.len() == 3 + 4 + 40 + 2, "{} ways: {ways:?}", ways.len());
        let totals = traced.totals()?;
        ensure!(totals.printed == totals.matched && traced.code == 0, "{traced:?}");
        Ok(())
    });
}

#[test]
fn from_pod_to_pod_over_a_bridge() {
    on_node(|node| {
        make_pods(node, Shape::Bridged, "observe")?;
        in_red("ping -q -c 1 10.0.0.3")?;
        let tracer = Tracer::start(node, "--follow -o json icmp[0]=8")?;
        in_red("ping -q -c 3 -i 0.1 10.0.0.3")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let ways = ways(&traced.json()?)?;
        let whole = ["red/r1 out pass", "host/r0 in pass", "host/b0 out pass", "blue/b1 in -"];
        ensure!(count(&ways, &whole) == 3 && ways.len() == 3, "{ways:?}");
        Ok(())
    });
}

/// What our own programs redirect is seen on both sides, and told.
#[test]
fn the_fast_path_shows() {
    on_node(|node| {
        let daemon = pods_by(node, Shape::Routed, By::Tc)?;
        fast_by(node, &daemon, By::Tc)?;
        let tracer = Tracer::start(node, "--follow -o json icmp[0]=8")?;
        // The trace is nothing that stands in the way of the fast path.
        (0..2).try_for_each(|_| audited(node))?;
        in_red("ping -q -c 3 -i 0.1 10.0.0.3")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let ways = ways(&traced.json()?)?;
        let hopped = ["red/r1 out pass", "host/r0 in redirect", "blue/b1 in -"];
        ensure!(count(&ways, &hopped) == 3 && ways.len() == 3, "{ways:?}");
        unknown_where_nobody_looks(node)?;
        people_read_redirect(node)
    });
}

/// Where nobody looks whether a packet leaves by the near end, the fast path and the stack's look the same.
fn unknown_where_nobody_looks(node: &Node) -> Result<()> {
    let incoming = ["host/r0 in -", "blue/b1 in -"];
    for asked in ["--dir in", "-i r0 -i b1"] {
        let tracer = Tracer::start(node, &format!("{asked} --follow -o json icmp[0]=8"))?;
        in_red("ping -q -c 2 -i 0.1 10.0.0.3")?;
        let ways = ways(&tracer.stop(node, Signal::SIGINT)?.json()?)?;
        ensure!(count(&ways, &incoming) == 2 && ways.len() == 2, "{asked}: {ways:?}");
    }
    Ok(())
}

/// At the hop that it is of.
fn people_read_redirect(node: &Node) -> Result<()> {
    let tracer = Tracer::start(node, "--follow icmp[0]=8")?;
    in_red("ping -q -c 1 10.0.0.3")?;
    let text = String::from_utf8(tracer.stop(node, Signal::SIGINT)?.out)?;
    let later = text.lines().filter_map(|line| Some(line.split_once(" us ")?.1));
    let hops: Vec<_> =
        later.map(|hop| hop.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    ensure!(hops == ["host/r0 in #1 redirect", "blue/b1 in #1"], "{text}");
    Ok(())
}

#[test]
fn people_read_a_line_a_hop() {
    on_node(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "--follow icmp")?;
        run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let text = String::from_utf8(traced.out.clone())?;
        let lines: Vec<_> = text.lines().collect();
        ensure!(lines.len() == 4, "{text}");
        ensure!(
            lines[0].contains("red/r1  out #1 IP 10.0.0.1 > 10.0.0.2: ICMP echo req"),
            "{text}"
        );
        let hop = lines[1].trim_start();
        ensure!(hop.starts_with('+') && hop.ends_with(" us blue/b1 in  #1"), "{text}");
        Ok(())
    });
}

/// A packet that is dropped has ended at once, others when nothing more has been seen of them for a while.
#[test]
fn what_ends_early_waits_for_what_came_before() {
    on_node(|node| {
        cable(node)?;
        let file = node.scratch().join("follow.pcapng");
        let into_file = Tracer::start(node, &format!("--follow -w {}", file.display()))?;
        let lines = Tracer::start(node, "--follow -o json")?;
        for _ in 0..3 {
            run("nsenter --net=/run/netns/red ping -q -c 1 10.0.0.2")?;
            send(node, 5001, 2, 100)?;
        }
        let traced = [into_file, lines].map(|tracer| tracer.stop(node, Signal::SIGINT));
        let [written, printed] = traced;
        let totals = written?.totals()?;
        let read = run(&format!("tcpdump -Z root -n -tt --nano -r {}", file.display()))?.stdout;
        let times: Vec<_> = read.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(times.is_sorted(), "{read}");
        ensure!(times.len() as u64 == totals.matched, "{} of {totals:?}", times.len());
        let lines = printed?.json()?;
        let packets: Vec<_> = lines.iter().map(|line| line["packet_id"].as_u64()).collect();
        ensure!(packets.is_sorted() && lines.len() as u64 == totals.matched, "{lines:?}");
        Ok(())
    });
}
