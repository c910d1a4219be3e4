//! One pair between two namespaces, with a firewall at the receiver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::Task;
use crate::{
    agent::Agent,
    bench::datapath::{arms::Sites, traffic},
    process, scrape,
};

const TOPOLOGY: &str = "
namespaces: [{ name: red }, { name: blue }]
pairs:
  - name: cable
    ends:
      - { namespace: red, interface: r1, addresses: [10.0.0.2/24] }
      - { namespace: blue, interface: b1, addresses: [10.0.0.3/24] }
";

/// Where the agent pins links.
const LINKS: &str = "/sys/fs/bpf/veth-agent";

const FILTERED: u16 = 5001;
const CLOSED: u16 = 5002;

/// The pair, and whether drops are counted.
pub struct Scene {
    agent: Agent,
    folder: PathBuf,
    counting: bool,
    /// Packets that were dropped while drops were counted.
    sent: u64,
}

impl Scene {
    /// Builds it. Its packets are counted throughout; no daemon runs while anything is measured.
    pub fn build(agent: Agent, folder: &Path) -> Result<Self> {
        let file = folder.join("drops.yaml");
        fs::write(&file, TOPOLOGY).with_context(|| format!("{}", file.display()))?;
        agent.with_file(&["apply"], &file)?;
        for rule in [
            "add table ip t",
            "add chain ip t input { type filter hook input priority 0; }",
            &format!("add rule ip t input udp dport {FILTERED} drop"),
        ] {
            let mut nft = Command::new("nsenter");
            process::read(nft.args(["--net=/run/netns/blue", "nft", rule]))?;
        }
        Ok(Self { agent, folder: folder.to_owned(), counting: false, sent: 0 })
    }

    /// Between which namespaces.
    pub fn sites(&self) -> Sites {
        Sites {
            client: "red".to_owned(),
            server: "blue".to_owned(),
            address: "10.0.0.3".to_owned(),
        }
    }

    /// Lets drops be counted, or not: a daemon attaches the programs and leaves them, and they go with
    /// their pins.
    pub fn count(&mut self, counting: bool) -> Result<()> {
        if counting && !self.counting {
            self.agent.start(&[], &self.folder, || Ok(()))?.stop()?;
        } else if self.counting && !counting {
            links()?.iter().try_for_each(fs::remove_file)?;
        }
        self.counting = counting;
        Ok(())
    }

    /// Packets, bytes or round trips a second.
    pub fn rate(&mut self, task: Task, time: Duration) -> Result<f64> {
        let port = match task {
            Task::Filtered => FILTERED,
            Task::Closed => CLOSED,
            Task::Delivered(workload) => {
                return Ok(traffic::run(workload, &self.sites(), time)?.rate);
            }
        };
        let (sent, took) = traffic::flood(&self.sites(), port, time)?;
        if self.counting {
            self.sent += sent;
        }
        Ok(sent as f64 / took.as_secs_f64())
    }

    /// Drops that were counted, and packets that were dropped meanwhile.
    pub fn audit(&mut self) -> Result<(f64, f64)> {
        self.count(false)?;
        let daemon = self.agent.start(&[], &self.folder, || Ok(()))?;
        let samples = scrape::samples(&daemon.client().get("/metrics")?)?;
        let drops = samples.iter().filter(|sample| {
            sample.name == "veth_agent_drops_total"
                && ["netfilter_drop", "no_socket", "cpu_backlog"].contains(&sample.label("reason"))
        });
        let counted = drops.map(|sample| sample.value).sum();
        daemon.stop()?;
        Ok((counted, self.sent as f64))
    }
}

/// The pinned links that hear of drops.
fn links() -> Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for version in fs::read_dir(LINKS).context(LINKS)? {
        for link in fs::read_dir(version?.path().join("links"))? {
            let link = link?;
            if link.file_name().to_string_lossy().starts_with("drops-") {
                links.push(link.path());
            }
        }
    }
    Ok(links)
}
