//! The agent's figures and the kernel's, taken while nothing moves.

use std::{fmt, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::scene::{ENDS, End};
use crate::{
    process,
    scrape::{self, Client, Sample},
};

/// How often to look again when a packet (the kernel sends some by itself) came in between.
const TRIES: usize = 20;

/// What has passed an end in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    packets: u64,
    bytes: u64,
}

/// One end and direction, as both sides saw it.
struct Row {
    end: &'static End,
    direction: &'static str,
    agent: Count,
    kernel: Count,
}

/// Every end and direction.
pub struct Table(Vec<Row>);

/// Every end and direction of the demo, in the table's order.
fn places() -> impl Iterator<Item = (&'static End, &'static str)> {
    ENDS.iter().flat_map(|end| ["rx", "tx"].map(|direction| (end, direction)))
}

/// Reads both sides at a moment when the kernel's figures stand still.
pub fn read(client: &Client) -> Result<Table> {
    let mut before = kernel()?;
    for _ in 0..TRIES {
        let agent = agent(&scrape::samples(&client.get("/metrics")?)?)?;
        let after = kernel()?;
        if before == after {
            return Ok(table(&agent, &after));
        }
        before = after;
        thread::sleep(Duration::from_millis(50));
    }
    bail!("the kernel's counters did not stand still in {TRIES} readings")
}

fn table(agent: &[Count], kernel: &[Count]) -> Table {
    let sides = agent.iter().zip(kernel);
    let rows = places().zip(sides).map(|((end, direction), (agent, kernel))| Row {
        end,
        direction,
        agent: *agent,
        kernel: *kernel,
    });
    Table(rows.collect())
}

fn kernel() -> Result<Vec<Count>> {
    let links = ENDS.iter().map(link).collect::<Result<Vec<_>>>()?;
    let directions = links.iter().flat_map(|link| ["rx", "tx"].map(|name| (link, name)));
    directions.map(|(link, name)| link_count(link, name).context("ip -s: no stats64")).collect()
}

/// `ip -s link show` of an end.
fn link(end: &End) -> Result<Value> {
    let mut ip = Command::new("ip");
    ip.args(["-n", end.netns, "-s", "-j", "link", "show", "dev", end.interface]);
    serde_json::from_str(&process::read(&mut ip)?).context("ip -j printed something else")
}

fn link_count(link: &Value, direction: &str) -> Option<Count> {
    let stats = link.get(0)?.get("stats64")?.get(direction)?;
    Some(Count { packets: stats.get("packets")?.as_u64()?, bytes: stats.get("bytes")?.as_u64()? })
}

fn agent(samples: &[Sample]) -> Result<Vec<Count>> {
    let count = |(end, direction)| {
        let packets = figure(samples, "veth_agent_packets_total", end, direction)?;
        let bytes = figure(samples, "veth_agent_bytes_total", end, direction)?;
        Ok(Count { packets, bytes })
    };
    places().map(count).collect()
}

/// The one sample of a family for an end and a direction.
fn figure(samples: &[Sample], family: &str, end: &End, direction: &str) -> Result<u64> {
    let mut matching = samples.iter().filter(|sample| {
        sample.name == family
            && sample.label("netns") == end.netns
            && sample.label("interface") == end.interface
            && sample.label("direction") == direction
    });
    let place = || format!("{family} of {}/{} {direction}", end.netns, end.interface);
    let sample = matching.next().with_context(|| format!("/metrics has no {}", place()))?;
    if matching.next().is_some() {
        bail!("/metrics has {} twice", place());
    }
    // Figures of a demo are far below 2^53: the float holds them exactly.
    Ok(sample.value as u64)
}

impl Table {
    /// Makes the first figure of the agent wrong by one packet.
    pub fn falsify(&mut self) {
        if let Some(row) = self.0.first_mut() {
            row.agent.packets += 1;
        }
    }

    /// An error if any figure disagrees.
    pub fn verdict(&self) -> Result<()> {
        let differing = self.0.iter().filter(|row| row.agent != row.kernel).count();
        if differing > 0 {
            bail!("{differing} of {} rows differ between the agent and the kernel", self.0.len());
        }
        println!("Every figure of the agent is the kernel's own.");
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:29}{:>17}{:>20}", "", "packets", "bytes")?;
        let head = ("end", "agent", "kernel");
        writeln!(
            f,
            "  {:20}  {:3}  {:>8} {:>8}   {:>8} {:>8}",
            head.0, "", head.1, head.2, head.1, head.2
        )?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { end, direction, agent, kernel } = self;
        let place = format!("{}/{}", end.netns, end.interface);
        let mark = if agent == kernel { "=" } else { "DIFFERS" };
        write!(f, "  {place:20}  {direction:3}  {:>8} {:>8}", agent.packets, kernel.packets)?;
        write!(f, "   {:>8} {:>8}  {mark}", agent.bytes, kernel.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(packets: u64) -> Vec<Sample> {
        let line = |family: &str, end: &End, direction: &str, value: u64| {
            format!(
                "{family}{{netns=\"{}\",interface=\"{}\",direction=\"{direction}\"}} {value}\n",
                end.netns, end.interface
            )
        };
        let text: String = places()
            .map(|(end, direction)| {
                line("veth_agent_packets_total", end, direction, packets)
                    + &line("veth_agent_bytes_total", end, direction, packets * 98)
            })
            .collect();
        scrape::samples(&text).unwrap_or_default()
    }

    fn agreeing() -> Table {
        let counts = agent(&page(12)).unwrap_or_default();
        table(&counts, &counts)
    }

    #[test]
    fn equal_figures_agree_and_one_packet_more_does_not() {
        let mut table = agreeing();
        assert_eq!(table.0.len(), 4);
        assert!(table.verdict().is_ok());
        table.falsify();
        assert!(table.verdict().is_err());
        assert!(table.to_string().contains("DIFFERS"));
    }

    #[test]
    fn a_missing_or_double_sample_is_an_error() {
        let samples = page(1);
        assert!(agent(samples.get(1..).unwrap_or_default()).is_err());
        assert!(agent(&[samples.clone(), samples].concat()).is_err());
    }

    #[test]
    fn the_table_fits_a_terminal() {
        assert!(agreeing().to_string().lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn the_kernels_figures_are_read_from_ip() {
        let link = serde_json::json!([{"stats64": {"rx": {"packets": 3, "bytes": 200},
                                                   "tx": {"packets": 4, "bytes": 300}}}]);
        assert_eq!(link_count(&link, "tx"), Some(Count { packets: 4, bytes: 300 }));
        assert_eq!(link_count(&serde_json::json!([]), "tx"), None);
    }
}
