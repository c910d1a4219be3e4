//! Packets that are lost, by end and reason.

mod conserve;
mod groups;
mod healthy;
mod life;
mod reasons;
mod without;
mod xdp;

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::net::if_::if_nametoindex;
use veth_agent::{
    collect::{DropReader, Drops},
    datapath::{DEFAULT_BPFFS, Maps, Pins},
    netns,
    preflight::Feature,
    types::{EndId, IfIndex},
};
use veth_tests::{Agent, Node, Page, lacks, on_node, patient, run};

pub const SOON: Duration = Duration::from_secs(20);

/// Reasons, and how often.
pub type Reasons = BTreeMap<String, u64>;

/// Namespace and interface.
pub type End<'a> = (&'a str, &'a str);

pub const RED: End<'_> = ("red", "r1");
pub const BLUE: End<'_> = ("blue", "b1");
pub const RED_ADDRESS: &str = "10.0.0.1";
pub const BLUE_ADDRESS: &str = "10.0.0.2";

/// Runs a test where the kernel tells of drops.
pub fn with_reasons(test: impl FnOnce(&Node) -> Result<()> + Send + 'static) {
    if !lacks(Feature::DropReasons) {
        on_node(test);
    }
}

/// One cable between two namespaces in which nothing moves by itself, and the daemon.
pub fn pair(node: &Node) -> Result<Agent> {
    for netns in ["red", "blue"] {
        node.quiet_netns(netns)?;
    }
    run("ip -n red link add r1 type veth peer name b1 netns blue")?;
    for ((netns, interface), address) in [(RED, RED_ADDRESS), (BLUE, BLUE_ADDRESS)] {
        run(&format!("ip -n {netns} addr add {address}/24 dev {interface}"))?;
        run(&format!("ip -n {netns} link set {interface} up"))?;
    }
    node.acquaint([(RED.0, RED.1, RED_ADDRESS), (BLUE.0, BLUE.1, BLUE_ADDRESS)])?;
    for end in [RED, BLUE] {
        crate::counts::carrier(node, end)?;
    }
    Agent::start(node, "")
}

/// What the page says that an end has lost.
pub fn drops(page: &Page, (netns, interface): End<'_>) -> Reasons {
    let labels = [("netns", netns), ("interface", interface)];
    let samples = page.all("veth_agent_drops_total", &labels);
    samples.map(|sample| (sample.labels["reason"].clone(), sample.value as u64)).collect()
}

/// What the pinned maps say of an end, whoever runs or does not.
pub fn read(node: &Node, (netns, interface): End<'_>) -> Result<Vec<Drops>> {
    let identity =
        || Ok(EndId { netns: netns::cookie()?, ifindex: IfIndex(if_nametoindex(interface)?) });
    let end = if netns == "host" { identity()? } else { node.within(netns, identity)? };
    let pins = Pins::at(DEFAULT_BPFFS.as_ref());
    let maps = Maps::open(&pins, 1)?;
    let mut all = DropReader::new(&pins).read(&maps)?;
    Ok(all.of_ends.remove(&end).unwrap_or_default())
}

/// Waits until each of these ends has lost what it should, and fails at once where one has lost more.
pub fn lose(node: &Node, daemon: &Agent, expected: &[(End<'_>, &[(&str, u64)])]) -> Result<()> {
    let wanted: Vec<(_, Reasons)> = expected
        .iter()
        .map(|(end, reasons)| (*end, reasons.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()))
        .collect();
    let mut found = Vec::new();
    let waited = node.eventually("drops", SOON, || {
        let page = daemon.page()?;
        let lost = page.value("veth_agent_events_lost_total", &[("source", "drops")])?;
        ensure!(lost < 0.5, "{lost} drops are not counted");
        found = wanted.iter().map(|(end, _)| (*end, drops(&page, *end))).collect();
        let total = |ends: &[(End<'_>, Reasons)]| -> u64 {
            ends.iter().flat_map(|(_, reasons)| reasons.values()).sum()
        };
        if total(&found) > total(&wanted) {
            bail!("{found:?} instead of {wanted:?}");
        }
        Ok((found == wanted).then_some(()))
    });
    waited.map_err(|error| error.context(format!("{found:?} instead of {wanted:?}")))
}

/// Sends `count` UDP packets of `bytes` payload from a namespace to an address and port. Those that the
/// kernel refuses at once are sent, too.
pub fn send(node: &Node, netns: &str, to: &str, count: u64, bytes: usize) -> Result<()> {
    node.within(netns, || {
        // Not connected: a packet is not refused for the answer to an earlier one.
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        let payload = vec![0x5a; bytes];
        (0..count).for_each(|_| _ = socket.send_to(&payload, to));
        Ok(())
    })
}

/// Reads what has come to a socket, and waits for more until `enough` is there or time is up.
pub fn receive(socket: &UdpSocket, enough: u64) -> Result<u64> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (deadline, mut buffer, mut count) = (Instant::now() + patient(SOON), [0; 2048], 0);
    while count < enough && Instant::now() < deadline {
        count += u64::from(socket.recv(&mut buffer).is_ok());
    }
    Ok(count)
}

/// Loads rules in a namespace, a command of `nft` a line.
pub fn nft(node: &Node, netns: &str, rules: &str) -> Result<()> {
    let file = node.file(&format!("{netns}.nft"), &format!("{rules}\n"))?;
    run(&format!("nsenter --net=/run/netns/{netns} nft -f {}", file.display()))?;
    Ok(())
}

/// Rules that drop UDP packets to a port at a hook.
pub fn nft_drop(hook: &str, port: u16) -> String {
    format!(
        "add table ip t\nadd chain ip t {hook} {{ type filter hook {hook} priority 0; }}\n\
         add rule ip t {hook} udp dport {port} drop"
    )
}
