//! Packets that are dropped: why, and where.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use veth_tests::{Node, Tracer, on_node, run, shell, undisturbed};

use super::{cable, places, send, send_to_all, soon_full};
use crate::{
    drops::with_reasons,
    fastpath::{Shape, make_pods},
};

/// How many lines say each.
fn count(lines: &[Value], what: &str) -> usize {
    places(lines).iter().filter(|place| *place == what).count()
}

#[test]
fn each_way_to_be_dropped_is_told_with_its_reason_at_the_right_end() {
    with_reasons(|node| {
        cable(node)?;
        for (netns, hook, port) in [("blue", "input", 5001), ("red", "output", 5002)] {
            let inside = format!("nsenter --net=/run/netns/{netns} nft");
            run(&format!("{inside} add table ip t"))?;
            run(&format!("{inside} add chain ip t c {{ type filter hook {hook} priority 0 ; }}"))?;
            run(&format!("{inside} add rule ip t c udp dport {port} drop"))?;
        }
        run("ip -n red link set r1 mtu 3000")?;
        let full = soon_full(node, 5004)?;
        let _room = undisturbed()?;
        let tracer = Tracer::start(node, "--drops -o json")?;
        send(node, 5001, 3, 100)?;
        // What an earlier rule of the sender eats cannot be sent again.
        for _ in 0..2 {
            let refused = send(node, 5002, 1, 100);
            ensure!(refused.is_err(), "the firewall let it pass");
        }
        send(node, 5003, 4, 100)?;
        send(node, 5004, 40, 1000)?;
        send(node, 5005, 1, 2500)?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let lines = traced.json()?;
        drop(full);
        ensure!(count(&lines, "blue/b1 netfilter_drop") == 3, "{lines:?}");
        ensure!(count(&lines, "red/r1 netfilter_drop") == 2, "{lines:?}");
        ensure!(count(&lines, "blue/b1 no_socket") == 4, "{lines:?}");
        ensure!(count(&lines, "red/r1 veth_oversize") == 1, "{lines:?}");
        let full = count(&lines, "blue/b1 socket_rcvbuff");
        ensure!((30..40).contains(&full), "{full} of 40: {lines:?}");
        let dropped = 3 + 2 + 4 + 1 + full;
        ensure!(lines.len() == dropped, "{} lines, {dropped} drops: {lines:?}", lines.len());
        ensure!(traced.totals()?.matched == dropped as u64, "{traced:?}");
        ensure!(lines.iter().all(|line| line["verdict"] == "drop"), "{lines:?}");
        // What red's own firewall eats never came to have an Ethernet header.
        let has_header = |line: &&Value| line["ethernet"].is_object();
        let bare = lines.iter().filter(|line| !has_header(line)).map(|line| line["netns"].as_str());
        ensure!(bare.collect::<Vec<_>>() == [Some("red"); 2], "{lines:?}");
        let ports = lines.iter().filter(|line| line["udp"]["destination_port"].is_u64());
        ensure!(ports.count() == dropped, "{lines:?}");
        Ok(())
    });
}

/// `kfree_skb` is not a list of drops.
#[test]
fn what_has_done_its_work_is_not_told() {
    with_reasons(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "--drops -o json")?;
        run("nsenter --net=/run/netns/red ping -q -c 5 -i 0.1 10.0.0.2")?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        ensure!(traced.out.is_empty() && traced.totals()?.seen == 0, "{traced:?}");
        Ok(())
    });
}

#[test]
fn passing_and_dropped_stand_in_the_order_of_their_times() {
    with_reasons(|node| {
        cable(node)?;
        let tracer = Tracer::start(node, "-o json")?;
        send(node, 9, 1, 100)?;
        let traced = tracer.stop(node, Signal::SIGINT)?;
        let lines = traced.json()?;
        let places = places(&lines);
        let at = |what: &str| places.iter().position(|place| place == what);
        let way = ["red/r1 out", "blue/b1 in", "blue/b1 no_socket"].map(at);
        ensure!(way[0] == Some(0) && way[1] == Some(1) && way[2] > way[1], "{places:?}");
        let times: Vec<_> = lines.iter().map(|line| line["time"].to_string()).collect();
        ensure!(times.is_sorted(), "{times:?}");
        Ok(())
    });
}

/// What the kernel lets a sender hear of itself has no Ethernet header, and has passed no cable.
#[test]
fn what_a_sender_hears_of_itself_is_not_told() {
    on_node(|node| {
        cable(node)?;
        for attach in ["auto", "clsact"] {
            let tracer =
                Tracer::start(node, &format!("-i b1 -o json --attach {attach} udp or len < 9999"))?;
            send_to_all(node, 5)?;
            let traced = tracer.stop(node, Signal::SIGINT)?;
            let places = places(&traced.json()?);
            ensure!(places.iter().all(|place| place == "blue/b1 out"), "{places:?}");
            ensure!(places.len() >= 10, "{places:?}");
        }
        Ok(())
    });
}

/// A rule of the host's firewall that drops pings.
fn drop_pings(hook: &str) -> Result<()> {
    run("nft add table ip t")?;
    run(&format!("nft add chain ip t c {{ type filter hook {hook} priority 0 ; }}"))?;
    run("nft add rule ip t c icmp type echo-request drop").map(drop)
}

/// Pings once, which nobody answers, under a trace; where it saw what happen.
fn dropped_pings(node: &Node, arguments: &str, target: &str) -> Result<Vec<String>> {
    let tracer = Tracer::start(node, &format!("-o json {arguments} icmp"))?;
    shell(&format!("nsenter --net=/run/netns/red ping -q -c 1 -W 0.1 {target}"))?;
    Ok(places(&tracer.stop(node, Signal::SIGINT)?.json()?))
}

/// The kernel does not keep the port that a packet came by.
#[test]
fn what_is_lost_behind_a_bridge_is_told_at_the_bridge() {
    with_reasons(|node| {
        make_pods(node, Shape::Bridged, "observe")?;
        drop_pings("input")?;
        let lost = "host/br0 netfilter_drop";
        ensure!(dropped_pings(node, "--drops", "10.0.0.1")? == [lost]);
        let way = dropped_pings(node, "--follow", "10.0.0.1")?;
        ensure!(way == ["red/r1 out", "host/r0 in", lost], "{way:?}");
        // Of other ports' packets nothing is known there.
        ensure!(dropped_pings(node, "--drops -i r0", "10.0.0.1")?.is_empty());
        Ok(())
    });
}

#[test]
fn what_is_lost_is_laid_to_the_same_end_whichever_are_watched() {
    with_reasons(|node| {
        make_pods(node, Shape::Routed, "observe")?;
        drop_pings("forward")?;
        for (watched, wanted) in [
            ("", vec!["host/r0 netfilter_drop"]),
            ("-i r0", vec!["host/r0 netfilter_drop"]),
            ("-i b0", vec![]),
        ] {
            let told = dropped_pings(node, &format!("--drops {watched}"), "10.0.0.3")?;
            ensure!(told == wanted, "{watched:?}: {told:?}");
        }
        Ok(())
    });
}
