//! `apply` repairs what has drifted, and touches nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Picture, agent_path, on_node, run, shell};

use super::{EVERYTHING, File};

const DRIFTS: &[&str] = &[
    "ip -n orange addr del 192.168.1.2/24 dev tap1",
    "ip -n orange addr del fd00:1::2/64 dev tap1",
    "ip addr del 10.0.0.1/24 dev br0",
    "ip addr flush dev veth-r",
    "ip -n green link set tap2 down",
    "ip -n orange link set up0 down",
    "ip link set br0 down",
    "ip link set veth-port down",
    "ip -n orange link set up0 mtu 1500",
    "ip link set veth-port mtu 1500",
    "ip link set br0 mtu 1300",
    "ip -n orange route del default",
    "ip -n orange -6 route del fd00:c::/64",
    "ip route del 10.9.0.1/32",
    "ip -n green route flush dev r0",
    "ip link set veth-port nomaster",
    "ip link add other type bridge; ip link set veth-port master other; ip link del other",
    "ip -n green link set tap2 address 02:00:00:00:00:99",
    "ip -n orange link set lo down",
    "ip link set veth-r alias ''",
    "ip -n green link set r0 alias ''; ip link set veth-r alias ''",
    "ip -n green link del tap2",
    "ip link del br0",
    "ip netns del green; until ! ip link show dev veth-r >/dev/null 2>&1; do :; done",
];

#[test]
fn every_drift_is_repaired() {
    on_node(|node| {
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        file.settled()?;
        for drift in DRIFTS {
            let done = shell(drift)?;
            ensure!(done.code == 0, "{drift}: {done:?}");
            let output = file.run("apply --dry-run")?;
            ensure!(!output.stdout.is_empty(), "not noticed: {drift}");
            file.apply().context(*drift)?;
            file.settled().context(*drift)?;
            works().context(*drift)?;
        }
        Ok(())
    });
}

fn works() -> Result<()> {
    for (netns, address) in [
        ("orange", "192.168.1.3"),
        ("green", "192.168.1.2"),
        ("orange", "10.0.0.1"),
        ("green", "10.9.0.10"),
    ] {
        run(&format!("nsenter --net=/run/netns/{netns} ping -q -c 1 -W 5 {address}"))?;
    }
    run("ping -q -c 1 -W 5 10.9.0.1")?;
    let tap2 = run("ip -n green link show dev tap2")?.stdout;
    ensure!(tap2.contains("02:00:00:00:00:03"), "{tap2}");
    Ok(())
}

#[test]
fn all_drifts_at_once_are_repaired_in_place() {
    on_node(|node| {
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        let wanted = Picture::take()?;
        for drift in DRIFTS.iter().filter(|drift| {
            !drift.contains(" del tap2")
                && !drift.contains("del br0")
                && !drift.contains("netns del")
        }) {
            // What one drift takes along is not there for the next one.
            shell(drift)?;
        }
        file.apply()?;
        file.settled()?;
        works()?;
        wanted.still_holds()
    });
}

#[test]
fn a_second_run_changes_nothing() {
    on_node(|node| {
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        let wanted = Picture::take()?;
        node.eventually("carriers and addresses settle", Duration::from_secs(20), || {
            let links =
                run("ip -o link show type veth")?.stdout + &run("ip -o link show dev br0")?.stdout;
            let addresses = run("ip -o addr")?.stdout;
            let settled = links.lines().all(|link| link.contains("state UP"));
            Ok((settled && !addresses.contains("tentative")).then_some(()))
        })?;
        // Not before the monitor is heard, and up to an event of ours, which comes last.
        let events = node.scratch().join("events");
        let script = format!(
            "ip -o monitor link address route >{events} &
             until grep -q first {events}; do ip link add first type bridge; ip link del first; done
             {agent} apply -f {file}
             ip link add last type bridge
             until grep -q last {events}; do :; done
             kill $!
             ip link del last",
            events = events.display(),
            agent = agent_path().display(),
            file = file.0.display(),
        );
        let output = shell(&script)?;
        ensure!(output.stderr.contains("nothing to change"), "{output:?}");
        let heard = std::fs::read_to_string(&events)?;
        let ours = ["veth-r", "veth-port", "br0"];
        let changed = heard.lines().find(|line| ours.iter().any(|name| line.contains(name)));
        ensure!(changed.is_none(), "{changed:?}");
        wanted.still_holds()
    });
}

#[test]
fn what_the_file_does_not_declare_stays() {
    on_node(|node| {
        let file = File::new(node, "t.yaml", EVERYTHING)?;
        file.apply()?;
        shell(
            "ip -n orange addr add 172.16.0.1/16 dev tap1
             ip -n orange addr add fd00:99::1/64 dev tap1
             ip -n orange route add 10.50.0.0/16 via 192.168.1.3
             ip -n green link add own type bridge
             ip -n green addr add 172.17.0.1/16 dev own
             ip link add guest type veth peer name guest0 netns green
             ip link set guest master br0 up
             ip link set br0 txqueuelen 77
             ip addr add 10.0.0.77/24 dev br0
             ip netns add own-netns
             ip netns exec own-netns ip link set lo up",
        )?;
        let before = Picture::take()?;
        file.settled()?;
        file.apply()?;
        before.still_holds()?;
        // Nor does a repair beside it take it away.
        run("ip -n orange addr del 192.168.1.2/24 dev tap1")?;
        run("ip -n orange link set tap1 mtu 1450")?;
        file.apply()?;
        let shown = run("ip -n orange addr show dev tap1")?.stdout;
        for address in ["172.16.0.1/16", "fd00:99::1/64", "192.168.1.2/24"] {
            ensure!(shown.contains(address), "{address}: {shown}");
        }
        // No MTU is declared for it, so any will do.
        ensure!(shown.contains("mtu 1450"), "{shown}");
        Ok(())
    });
}

#[test]
fn what_left_the_file_is_taken_away() {
    on_node(|node| {
        let text = |rest: &str| {
            format!(
                "namespaces: [{{ name: orange }}]\npairs:\n  - name: p\n    ends:\n      - {{ \
                 interface: p0 }}\n      - {{ namespace: orange, interface: p1, {rest} }}\n"
            )
        };
        let rich =
            "addresses: [10.1.0.2/24, 10.2.0.2/24], routes: [{ to: 10.3.0.0/16, via: 10.1.0.9 }]";
        File::new(node, "t.yaml", &text(rich))?.apply()?;
        run("ip -n orange addr add 10.9.9.9/32 dev p1")?;
        let poor = File::new(node, "t.yaml", &text("addresses: [10.1.0.2/24]"))?;
        poor.apply()?;
        poor.settled()?;
        let addresses = run("ip -n orange addr show dev p1")?.stdout;
        ensure!(
            addresses.contains("10.1.0.2/24") && addresses.contains("10.9.9.9/32"),
            "{addresses}"
        );
        ensure!(!addresses.contains("10.2.0.2"), "{addresses}");
        let routes = run("ip -n orange route")?.stdout;
        ensure!(!routes.contains("10.3.0.0/16"), "{routes}");
        Ok(())
    });
}
