//! Ends as the kernel and as the agent count them, side by side.

use std::time::Duration;

use anyhow::{Result, ensure};
use veth_agent::preflight::Feature;
use veth_common::counters::{Counters, EndCounters};
use veth_tests::{Agent, LinkStats, Node, Output, Page, agent, link_stats, run, undisturbed};

/// Namespace and interface of an end.
pub type End<'a> = (&'a str, &'a str);

/// One end at a moment when nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What the kernel's link statistics say.
    pub kernel: LinkStats,
    /// What the agent's page says.
    pub agent: EndCounters,
}

impl Reading {
    /// What came to `earlier` until now.
    pub fn since(self, earlier: Self) -> Self {
        let since = |now: Counters, then: Counters| Counters {
            packets: now.packets - then.packets,
            bytes: now.bytes - then.bytes,
            segments: now.segments - then.segments,
        };
        let (now, then) = (self.agent, earlier.agent);
        Self {
            kernel: self.kernel.since(earlier.kernel),
            agent: EndCounters { rx: since(now.rx, then.rx), tx: since(now.tx, then.tx), ..now },
        }
    }

    /// Packets and bytes of the kernel, received and sent.
    pub fn device(&self) -> [(u64, u64); 2] {
        let LinkStats { rx_packets, rx_bytes, tx_packets, tx_bytes, .. } = self.kernel;
        [(rx_packets, rx_bytes), (tx_packets, tx_bytes)]
    }

    /// Takes back what was dropped behind the egress hook, where a packet has at most `largest`
    /// bytes: the agent has counted it and the device has not.
    fn without_drops(mut self, largest: u64) -> Self {
        let dropped = self.kernel.tx_dropped;
        let bytes = self.agent.tx.bytes.saturating_sub(self.kernel.tx_bytes);
        assert!(bytes <= dropped * largest, "{bytes} bytes in {dropped} drops; {self:?}");
        self.agent.tx.packets -= dropped;
        if dropped > 0 {
            self.agent.tx.bytes -= bytes;
        }
        self
    }

    /// Packets and bytes of the agent, received and sent.
    pub fn counted(&self) -> [(u64, u64); 2] {
        [self.agent.rx, self.agent.tx].map(|way| (way.packets, way.bytes))
    }
}

/// Fails unless every end was counted as the kernel counted it, to the last packet and byte, but
/// for what a full backlog has made the device drop behind the hook: on a machine whose CPUs are
/// all taken, the kernel takes no more than `netdev_max_backlog` packets a CPU.
#[track_caller]
pub fn assert_equal_but_for_drops(readings: &[Reading]) {
    const LARGEST: u64 = 65_536 + 14;
    for reading in readings {
        let reading =
            if reading.kernel.tx_dropped > 0 { reading.without_drops(LARGEST) } else { *reading };
        assert_equal(&[reading]);
    }
}

/// Fails unless every end was counted as the kernel counted it, to the last packet and byte.
#[track_caller]
pub fn assert_equal(readings: &[Reading]) {
    for reading in readings {
        assert_eq!(reading.device(), reading.counted(), "kernel and agent; {reading:?}");
    }
}

/// The agent's counters of an end.
pub fn counted(page: &Page, (netns, interface): End<'_>) -> Result<EndCounters> {
    let direction = |way| -> Result<Counters> {
        let count = |name| page.count(name, netns, interface, way);
        Ok(Counters {
            packets: count("veth_agent_packets_total")?,
            bytes: count("veth_agent_bytes_total")?,
            segments: count("veth_agent_segments_total")?,
        })
    };
    Ok(EndCounters { rx: direction("rx")?, tx: direction("tx")?, ..EndCounters::default() })
}

/// Reads all `ends` once nothing moves on them any more: three times running the same.
pub fn at_rest<const N: usize>(
    node: &Node,
    daemon: &Agent,
    ends: [End<'_>; N],
) -> Result<[Reading; N]> {
    let mut seen = Vec::new();
    node.eventually("the traffic stops", Duration::from_secs(60), || {
        let page = daemon.page()?;
        let mut readings = [Reading::default(); N];
        for (reading, end) in readings.iter_mut().zip(ends) {
            let kernel = link_stats(end.0, end.1)?;
            *reading = Reading { kernel, agent: counted(&page, end)? };
        }
        seen.retain(|earlier| *earlier == readings);
        seen.push(readings);
        Ok((seen.len() == 3).then_some(readings))
    })
}

/// Whether the kernel lacks `by`, one of the two mechanisms to attach by.
pub fn lacks(by: &str) -> bool {
    by == "tcx" && veth_tests::lacks(Feature::Tcx)
}

/// Waits until an end has both programs, by whatever mechanism; says which.
pub fn attached(node: &Node, (netns, interface): End<'_>) -> Result<String> {
    let what = format!("programs on {netns}/{interface}");
    node.eventually(&what, Duration::from_secs(30), || {
        let list = agent("list -o json")?;
        ensure!(list.code == 0, "{}", list.stderr);
        let list: serde_json::Value = serde_json::from_str(&list.stdout)?;
        let pairs = list["pairs"].as_array().into_iter().flatten();
        let ends = pairs.flat_map(|pair| pair["ends"].as_array().into_iter().flatten());
        let hooks = ends
            .filter(|end| end["netns"]["name"] == netns && end["interface"] == interface)
            .map(|end| (end["hooks"]["ingress"].as_str(), end["hooks"]["egress"].as_str()))
            .next();
        Ok(match hooks {
            Some((Some(ingress), Some(egress))) if ingress == egress => Some(ingress.to_owned()),
            _ => None,
        })
    })
}

/// Runs a command line in a namespace, `host` being the node's own.
pub fn inside(netns: &str, line: &str) -> Result<Output> {
    if netns == "host" {
        run(line)
    } else {
        run(&format!("nsenter --net=/run/netns/{netns} {line}"))
    }
}

/// One side of a pair that a test makes by hand.
pub struct Side<'a> {
    /// Where it is.
    pub end: End<'a>,
    /// Its address, without a length.
    pub address: &'a str,
    /// Its interface index, where that matters.
    pub index: Option<u32>,
}

/// A side of a pair.
pub const fn side<'a>(
    netns: &'a str,
    interface: &'a str,
    address: &'a str,
    index: Option<u32>,
) -> Side<'a> {
    Side { end: (netns, interface), address, index }
}

impl Side<'_> {
    /// Made of the address, so that the other side knows it without ARP.
    fn mac(&self) -> String {
        let octets = self.address.split('.').filter_map(|octet| octet.parse::<u8>().ok());
        octets.fold("02:00".to_owned(), |mac, octet| format!("{mac}:{octet:02x}"))
    }

    fn options(&self) -> String {
        let index = self.index.map(|index| format!("index {index}")).unwrap_or_default();
        format!("{} {index} address {}", self.end.1, self.mac())
    }

    /// Gives it its address, sets it up and tells it where `other` is: from then on it sends
    /// nothing that no test asked for.
    pub fn up(&self, other: &Side<'_>) -> Result<()> {
        let (netns, interface) = self.end;
        let ip = |line: &str| inside(netns, &format!("ip {line}"));
        ip(&format!("address add {}/24 dev {interface}", self.address))?;
        ip(&format!("link set {interface} up"))?;
        ip(&format!(
            "neighbour replace {} lladdr {} dev {interface} nud permanent",
            other.address,
            other.mac()
        ))?;
        Ok(())
    }

    /// Sends `count` pings of 98 bytes to `other`; all are answered.
    pub fn ping(&self, other: &Side<'_>, count: u64) -> Result<()> {
        let _room = undisturbed()?;
        inside(self.end.0, &format!("ping -q -f -c {count} {}", other.address))?;
        Ok(())
    }
}

/// Makes a pair by `ip` and brings it up. Older kernels look for a wanted index in the namespace
/// of the command, so that is an end's own.
pub fn join(node: &Node, sides: [&Side<'_>; 2]) -> Result<()> {
    let [one, other] = sides;
    let (here, there) = (one.end.0, other.end.0);
    // Of two ends on the host, the peer stays where the command runs.
    let (first, second, netns) = match (here, there) {
        ("host", "host") => (one, other, None),
        (_, "host") => (other, one, Some(here)),
        _ => (one, other, Some(there)),
    };
    let netns = netns.map(|netns| format!("netns {netns}")).unwrap_or_default();
    inside(
        first.end.0,
        &format!(
            "ip link add {} type veth peer name {} {netns}",
            first.options(),
            second.options()
        ),
    )?;
    one.up(other)?;
    other.up(one)?;
    sides.into_iter().try_for_each(|side| carrier(node, side.end))
}

/// Waits until an end can send: until its operational state follows its carrier, its queue drops
/// what it is given (`noop_enqueue`), behind the hook.
pub fn carrier(node: &Node, (netns, interface): End<'_>) -> Result<()> {
    node.eventually("a carrier", Duration::from_secs(30), || {
        let shown = inside(netns, &format!("ip -br link show dev {interface}"))?;
        Ok((shown.stdout.split_whitespace().nth(1) == Some("UP")).then_some(()))
    })
}

/// A ping as a frame: Ethernet, IPv4, ICMP, 56 bytes.
pub const PING: u64 = 98;

/// Fails unless each end received and sent so many pings and answers, and nothing else, ever.
#[track_caller]
pub fn assert_pings(readings: &[Reading], expected: &[u64]) {
    assert_equal(readings);
    let counted: Vec<_> = readings.iter().map(Reading::counted).collect();
    let expected: Vec<_> = expected.iter().map(|count| [(*count, count * PING); 2]).collect();
    assert_eq!(counted, expected);
}

/// Namespaces in which nothing moves but what the tests send: no ARP, no IPv6.
pub fn quiet(node: &Node, namespaces: &[&str]) -> Result<()> {
    for netns in namespaces {
        if *netns == "host" {
            let off = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
            run(&format!("sysctl -qw {off}"))?;
        } else {
            node.quiet_netns(netns)?;
        }
    }
    Ok(())
}
